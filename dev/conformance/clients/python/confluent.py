"""librdkafka, through confluent-kafka: writer, reader and group member of the conformance tests.

It judges nothing: it prints what it saw, the harness compares. Called as `confluent.py VERB BOOTSTRAP TOPIC ...`; the
last line of its output is one JSON object, lines before it are progress or events.
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from digest import Digest
from flights import rows


def say(**event):
    print(json.dumps(event), flush=True)


class Deliveries:
    """Counts acknowledgements and says so every 20,000, so that the harness can strike in the middle."""

    def __init__(self):
        self.acked, self.errors = 0, []

    def on(self, error, message):
        if error is not None:
            self.errors.append(str(error))
            return
        self.acked += 1
        if self.acked % 20_000 == 0:
            say(progress=self.acked)


def write(bootstrap, topic, path, first, last, start, *settings):
    """Sends rows first..last of the exported flights and waits for every acknowledgement.

    Timestamps are the flights' own with `start` = "own", else they count up from that millisecond. The setting `rate` is no
    librdkafka's: so many rows a second at most.
    """
    config = {"bootstrap.servers": bootstrap, "message.timeout.ms": 300_000, "linger.ms": 20,
              "reconnect.backoff.max.ms": 500, "queue.buffering.max.messages": 50_000}
    config.update(setting.split("=", 1) for setting in settings)
    rate, begun = int(config.pop("rate", 0)), time.monotonic()
    producer, deliveries = Producer(config), Deliveries()
    start = None if start == "own" else int(start)
    for number, key, timestamp, value in rows(path, int(first), int(last), start):
        while rate and (number - int(first)) / rate > time.monotonic() - begun:
            producer.poll(0.01)
        while True:
            try:
                producer.produce(topic, value, key, timestamp=timestamp, on_delivery=deliveries.on,
                                 headers=[("row", str(number).encode())])
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(300)
    say(acked=deliveries.acked, left=left, errors=deliveries.errors[:3], failed=len(deliveries.errors))


def pulse(bootstrap, topic, *settings):
    """Sends a record to every partition every 20 ms until SIGTERM.

    Tells for each partition how many were acknowledged and the longest time, in ms, in which none was; what failed.
    """
    config = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0}
    config.update(setting.split("=", 1) for setting in settings)
    producer, failed, stopped = Producer(config), [], []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    partitions = sorted(producer.list_topics(topic, timeout=30).topics[topic].partitions)
    acked, gaps, last = dict.fromkeys(partitions, 0), dict.fromkeys(partitions, 0.0), {}

    def on_delivery(error, message):
        if error is not None:
            failed.append(str(error))
            return
        now, partition = time.monotonic(), message.partition()
        acked[partition] += 1
        if partition in last:
            gaps[partition] = max(gaps[partition], now - last[partition])
        elif len(last) + 1 == len(partitions):
            say(pulsing=True)
        last[partition] = now

    number = 0
    while not stopped:
        for partition in partitions:
            producer.produce(topic, str(number), partition=partition, on_delivery=on_delivery)
        number += 1
        until = time.monotonic() + 0.02
        while (left := until - time.monotonic()) > 0:
            producer.poll(left)
    producer.flush(60)
    say(sent=number, acked=list(acked.values()), gaps_ms=[int(gap * 1000) for gap in gaps.values()],
        failed=len(failed), errors=failed[:3])


def describe(bootstrap, topic):
    """Who is the controller, which brokers there are, and for each partition its leader and who is in sync."""
    found = AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=10)
    partitions = found.topics[topic].partitions
    say(controller=found.controller_id, brokers=sorted(found.brokers),
        leaders=[partitions[p].leader for p in sorted(partitions)],
        in_sync=[sorted(partitions[p].isrs) for p in sorted(partitions)])


def count_up(bootstrap, topic, partitions, count):
    """Sends `count` numbered records to each partition, for the group tests."""
    producer, deliveries = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True}), Deliveries()
    for number in range(int(count)):
        for partition in range(int(partitions)):
            producer.produce(topic, str(number), partition=partition, on_delivery=deliveries.on)
        producer.poll(0)
    left = producer.flush(120)
    say(acked=deliveries.acked, left=left, errors=deliveries.errors[:3], failed=len(deliveries.errors))


def ends(consumer, topic):
    partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in partitions}


def read(bootstrap, topic, *settings):
    """Reads every partition from its first record to the end it had at the start."""
    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
              "auto.offset.reset": "error", "enable.partition.eof": True, "check.crcs": True}
    config.update(setting.split("=", 1) for setting in settings)
    consumer, digest = Consumer(config), Digest()
    open_until = {p: high for p, (low, high) in ends(consumer, topic).items() if high > low}
    consumer.assign([TopicPartition(topic, p, 0) for p in open_until])
    quiet = 0
    while open_until:
        batch = consumer.consume(5_000, 0.2)
        quiet = 0 if batch else quiet + 1
        if quiet > 150:
            raise SystemExit(f"nothing for 30 s, {open_until} not reached")
        for message in batch:
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    open_until.pop(message.partition(), None)
                    continue
                raise SystemExit(str(message.error()))
            row = dict(message.headers() or []).get("row", b"")
            digest.add(message.key(), message.timestamp()[1], row, message.value())
    consumer.close()
    say(**digest.summary())


def member(bootstrap, topic, group, strategy, instance=""):
    """A group member that commits what it consumed and tells every assignment, until SIGTERM.
    `strategy` is an assignor of the classic protocol, or `consumer:ASSIGNOR` for one of the broker's (KIP-848)."""
    config = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
              "partition.assignment.strategy": strategy, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
              "enable.auto.commit": False, "topic.metadata.refresh.interval.ms": 2000,
              "reconnect.backoff.max.ms": 500}
    by_broker = strategy.startswith("consumer:")
    if by_broker:
        for key in ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"):
            del config[key]
        config.update({"group.protocol": "consumer", "group.remote.assignor": strategy.split(":")[1]})
    incremental = by_broker or strategy == "cooperative-sticky"
    if instance:
        config["group.instance.id"] = instance
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    consumer, held = Consumer(config), set()

    def on_assign(consumer, partitions):
        held.update(p.partition for p in partitions)
        if incremental:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        say(assigned=sorted(held))

    def on_gone(consumer, partitions):
        held.difference_update(p.partition for p in partitions)
        if incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        say(assigned=sorted(held))

    consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_gone, on_lost=on_gone)
    owing = False
    while not stopped:
        batch = [m for m in consumer.consume(500, 0.1) if not m.error()]
        if batch:
            say(records=ranges(batch))
            owing = True
        if owing:
            try:
                consumer.commit(asynchronous=False)
                owing = False
            except Exception as error:  # a rebalance in between: what stays here is committed again
                say(commit_failed=str(error))
    consumer.close()
    say(closed=True)


def ranges(batch):
    """[partition, first offset, last offset] of the runs in a batch."""
    runs = []
    for message in batch:
        last = runs[-1] if runs else None
        if last and last[0] == message.partition() and last[2] + 1 == message.offset():
            last[2] = message.offset()
        else:
            runs.append([message.partition(), message.offset(), message.offset()])
    return runs


def committed(bootstrap, topic, group):
    """The committed offset and the bounds of every partition: {partition: [committed, low, high]}."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    bounds = ends(consumer, topic)
    offsets = consumer.committed([TopicPartition(topic, p) for p in bounds], timeout=30)
    say(partitions={p.partition: [p.offset, *bounds[p.partition]] for p in offsets})


def create(bootstrap, topic, partitions, *settings):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = dict(setting.split("=", 1) for setting in settings)
    admin.create_topics([NewTopic(topic, int(partitions), 1, config=config)])[topic].result(30)
    for _ in range(200):  # created is not yet known everywhere
        found = admin.list_topics(topic, timeout=10).topics[topic]
        if found.error is None and len(found.partitions) == int(partitions):
            break
        time.sleep(0.05)
    say(created=topic)


def delete(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    say(deleted=topic)


VERBS = {f.__name__: f for f in (write, pulse, describe, count_up, read, member, committed, create, delete)}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
