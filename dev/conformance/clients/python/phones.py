"""Clients of MQTT, through Eclipse Paho, and a consumer and a producer of Kafka beside them.

It judges what it sees itself: the first thing that is wrong ends it. Called as `phones.py VERB PORT BOOTSTRAP TOPIC`: `work`,
and after the broker was killed and started again `resume`; the last line of its output is one JSON object.
"""

import json
import queue
import sys
import time

import paho.mqtt.client as paho
from kafka import KafkaConsumer, KafkaProducer
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT = 20
VERSIONS = {4: paho.MQTTv311, 5: paho.MQTTv5}


def ensure(holds, *what):
    if not holds:
        raise SystemExit(" ".join(str(one) for one in what))


class Phone:
    def __init__(self, port, name, version=5, keeps=False, will=None):
        self.messages, self.events, self.version = queue.Queue(), queue.Queue(), version
        more = {"clean_session": not keeps} if version == 4 else {}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=VERSIONS[version], **more)
        self.client.on_message = lambda client, user, message: self.messages.put(message)
        self.client.on_connect = lambda client, user, flags, reason, properties: self.events.put((flags, reason))
        self.client.on_disconnect = lambda client, user, flags, reason, properties: self.events.put(reason)
        self.client.on_subscribe = lambda client, user, id, reasons, properties: self.events.put(reasons)
        if will:
            self.client.will_set(*will)
        if version == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if keeps else 0
            self.client.connect("127.0.0.1", port, 60, clean_start=not keeps, properties=properties)
        else:
            self.client.connect("127.0.0.1", port, 60)
        self.client.loop_start()
        flags, reason = self.events.get(timeout=WAIT)
        ensure(not reason.is_failure, name, reason)
        self.is_known = flags.session_present

    def subscribe(self, pattern, qos):
        self.client.subscribe(pattern, qos)
        reasons = self.events.get(timeout=WAIT)
        ensure(not reasons[0].is_failure, pattern, reasons)

    def refused(self, pattern):
        self.client.subscribe(pattern, 1)
        return self.events.get(timeout=WAIT)[0].value

    def publish(self, topic, payload, qos, retain=False, properties=None):
        sent = self.client.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish(WAIT)
        ensure(sent.is_published(), topic, payload, "is not acknowledged")

    def receive(self, *wanted):
        """The next message must be that one: topic, payload, QoS, RETAIN."""
        message = self.messages.get(timeout=WAIT)
        got = (message.topic, message.payload.decode(), message.qos, message.retain)
        ensure(got == wanted, "got", got, "instead of", wanted)
        return message

    def hang_up(self):
        self.client.disconnect()
        self.client.loop_stop()

    def lose(self):
        """The connection is cut, without a DISCONNECT."""
        self.client._sock.close()
        self.client.loop_stop()


def work(port, bootstrap, topic):
    done = []
    for version in VERSIONS:
        reader, writer = Phone(port, f"reader-{version}", version), Phone(port, f"writer-{version}", version)
        reader.subscribe(f"{topic}/v{version}/+", 2)
        for qos in (0, 1, 2):
            writer.publish(f"{topic}/v{version}/u", f"qos {qos}", qos)
            reader.receive(f"{topic}/v{version}/u", f"qos {qos}", qos, False)
        late = Phone(port, f"late-{version}", version)
        late.subscribe(f"{topic}/v{version}/u", 1)
        late.receive(f"{topic}/v{version}/u", "qos 2", 1, True)
        done += [f"QoS 0, 1, 2 and last values of {version}"]
        for phone in (reader, writer, late):
            phone.hang_up()
    writer = Phone(port, "writer")
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType, properties.ResponseTopic, properties.CorrelationData = "text/plain", "a/b", b"\0\1"
    properties.UserProperty = [("a", "1"), ("a", "2")]
    properties.TopicAlias = 3
    reader = Phone(port, "reader")
    reader.subscribe(f"{topic}/p", 1)
    writer.publish(f"{topic}/p", "first", 1, properties=properties)
    got = reader.receive(f"{topic}/p", "first", 1, False).properties
    seen = (got.ContentType, got.ResponseTopic, got.CorrelationData, got.UserProperty)
    ensure(seen == ("text/plain", "a/b", b"\0\1", [("a", "1"), ("a", "2")]), seen)
    done.append("properties")
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, key=b"p", value=b"of Kafka", headers=[("trace", b"7")]).get(WAIT)
    got = reader.receive(f"{topic}/p", "of Kafka", 1, False)
    ensure(got.properties.UserProperty == [("trace", "7")], got.properties)
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3000)
    of_p = [record for record in consumer if record.key == b"p"]
    ensure([record.value for record in of_p] == [b"first", b"of Kafka"], of_p)
    ensure(("content-type", b"text/plain") in of_p[0].headers and ("a", b"2") in of_p[0].headers, of_p[0].headers)
    done.append("records of Kafka")
    writer.publish(f"{topic}/p", "", 1, retain=True)
    late = Phone(port, "late")
    late.subscribe(f"{topic}/p", 1)
    writer.publish(f"{topic}/p", "after", 1)
    late.receive(f"{topic}/p", "after", 1, False)
    done.append("a tombstone has no last value")
    wills = Phone(port, "wills")
    wills.subscribe(f"{topic}/wills", 1)
    Phone(port, "lost", will=(f"{topic}/wills", "gone", 1, False)).lose()
    wills.receive(f"{topic}/wills", "gone", 1, False)
    done.append("wills")
    ensure(wills.refused("$share/g/" + topic + "/#") == 0x9E and wills.refused("nowhere/#") == 0x8F, "not refused")
    first = Phone(port, "twice")
    second = Phone(port, "twice")
    reason = first.events.get(timeout=WAIT)
    ensure(reason.value == 0x8E, reason)
    first.client.loop_stop()
    done.append("takeover")
    for version in VERSIONS:
        kept = Phone(port, f"kept-{version}", version, keeps=True)
        kept.subscribe(f"{topic}/kept", 2)
        kept.hang_up()
    for number in range(20):
        writer.publish(f"{topic}/kept", f"{number}", 2)
    return done


def resume(port, bootstrap, topic):
    for version in VERSIONS:
        kept = Phone(port, f"kept-{version}", version, keeps=True)
        ensure(kept.is_known, "the session is gone")
        wanted = [f"{number}" for number in range(20)]
        for number in wanted:
            kept.receive(f"{topic}/kept", number, 2, False)
        time.sleep(1)
        ensure(kept.messages.empty(), "more came than was published")
        kept.hang_up()
    return ["sessions resume"]


def main():
    verb, port, bootstrap, topic = sys.argv[1:5]
    done = {"work": work, "resume": resume}[verb](int(port), bootstrap, topic)
    print(json.dumps({"done": done}), flush=True)


main()
