"""The booking service: takes what riders ask for, tells them how it stands, and passes on what is to be matched.

It keeps nothing: what it has read and what it has written belong to one Kafka transaction, so that however often it is
killed each request is booked once. While it is down requests wait in their topic.
"""

import json
import os
import signal

from confluent_kafka import Consumer, Producer

BOOTSTRAP = os.environ["BOOTSTRAP"]


def news_of(topic, key, value):
    """What follows from a record: (topic, key, value) of each record to write."""
    if topic == "ride-requests":
        booking = {"ride": value["ride"], "rider": key, "place": value["place"]}
        return [("rides", key, {"ride": value["ride"], "state": "asked"}), ("bookings", key, booking)]
    if topic == "matches":
        return [("rides", value["rider"], {"ride": value["ride"], "state": "matched", "driver": value["driver"]})]
    done = value.get("done")
    return [("rides", done["rider"], {"ride": done["ride"], "state": "done"})] if done else []


def main():
    is_over = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    consumer = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": "booking",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "session.timeout.ms": 6000,
        }
    )
    # A phone reads its key in the partition that Java's producer takes for it; librdkafka takes another one unless told.
    partitioner = {"partitioner": "murmur2_random"}
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": "booking", **partitioner})
    producer.init_transactions()
    consumer.subscribe(["ride-requests", "matches", "driver-status"])
    print("booking is at work", flush=True)
    while not is_over:
        records = [record for record in consumer.consume(100, timeout=0.2) if not record.error()]
        if not records:
            continue
        producer.begin_transaction()
        for record in records:
            # Anyone may post anything: what is no request is passed over.
            try:
                news = news_of(record.topic(), record.key().decode(), json.loads(record.value()))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                print(f"passed over {record.topic()} {record.offset()}: {error!r}", flush=True)
                continue
            for topic, key, value in news:
                producer.produce(topic, key=key, value=json.dumps(value))
                print(f"{topic} {key}: {value}", flush=True)
        # Fails if another one has taken over: then nothing of this was written, and it ends.
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
        producer.commit_transaction()
        print(f"{len(records)} records are booked", flush=True)
    consumer.close()


main()
