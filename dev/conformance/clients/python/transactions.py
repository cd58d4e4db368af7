"""librdkafka's transactions, through confluent-kafka.

It judges nothing: it prints what it saw, the harness compares. Called as `transactions.py VERB BOOTSTRAP TOPIC ...`; the
last line of its output is one JSON object, lines before it are events.
"""

import json
import os
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition


def say(**event):
    print(json.dumps(event), flush=True)


def producer(bootstrap, transactional_id, **more):
    # With "rebootstrap", its default, librdkafka waits for ever for a group coordinator that it has forgotten meanwhile, when
    # the only broker was away.
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 0,
                     "reconnect.backoff.max.ms": 500, "metadata.recovery.strategy": "none", **more})
    made.init_transactions(60)
    return made


def patiently(call, *args):
    """A call that may have to be repeated, as librdkafka says itself."""
    for _ in range(100):
        try:
            return call(*args)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            time.sleep(0.1)
    raise SystemExit("repeated a hundred times")


# librdkafka takes no notice of the time it is given here (its issue 5456).
SEND_OFFSETS_LIMIT = 20


def is_sent(made, positions, group):
    """Sends offsets within a transaction; whether that ended.

    librdkafka waits for ever for a group coordinator that was missing from metadata once, as a broker is while it starts again
    (its issue 5511; beside Apache Kafka 4.4.0, too). An application has to begin anew with another producer.
    """
    failed = []

    def send():
        try:
            patiently(made.send_offsets_to_transaction, positions, group, SEND_OFFSETS_LIMIT)
        except BaseException as error:
            failed.append(error)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    sending.join(SEND_OFFSETS_LIMIT)
    if failed:
        raise failed[0]
    return not sending.is_alive()


def transact(bootstrap, topic, transactional_id, count):
    """`count` transactions of three records each, over all partitions; every third is aborted."""
    made, partitions = producer(bootstrap, transactional_id), None
    partitions = len(made.list_topics(topic, timeout=30).topics[topic].partitions)
    committed = []
    for number in range(int(count)):
        is_aborted = number % 3 == 2
        values = [f"{transactional_id}-{number}-{part}{'-aborted' if is_aborted else ''}" for part in range(3)]
        made.begin_transaction()
        for part, value in enumerate(values):
            made.produce(topic, value, partition=(number + part) % partitions)
        if is_aborted:
            made.flush(60)
            patiently(made.abort_transaction, 60)
        else:
            patiently(made.commit_transaction, 60)
            committed += values
    say(committed=sorted(committed))


def read(bootstrap, topic, isolation):
    """All values up to the end that this isolation level sees, and the end offsets."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "enable.partition.eof": True, "isolation.level": isolation})
    partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    values, left, until = [], set(partitions), time.monotonic() + 60
    while left and time.monotonic() < until:
        for message in consumer.consume(1000, 0.2):
            if not message.error():
                values.append(message.value().decode())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise SystemExit(str(message.error()))
    if left:
        raise SystemExit(f"the ends of {left} were not reached")
    consumer.close()
    say(values=sorted(values))


def copy(bootstrap, topic, target, group, transactional_id, count, pace):
    """Copies records to `target` in transactions that commit the group's offsets too, until `count` were copied.

    Every fourth transaction is aborted and its records are read again. Tells the progress after each commit, and at the end how
    often it had to begin anew with another producer.
    """
    made = producer(bootstrap, transactional_id)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "isolation.level": "read_committed",
                         "session.timeout.ms": 6000, "heartbeat.interval.ms": 500})
    consumer.subscribe([topic])
    copied, number, anew, quiet = 0, 0, 0, time.monotonic()
    while copied < int(count) and time.monotonic() - quiet < 60:
        batch = [message for message in consumer.consume(7, 1) if not message.error()]
        if not batch:
            continue
        quiet, number = time.monotonic(), number + 1
        made.begin_transaction()
        for message in batch:
            made.produce(target, message.value() + b"!")
        positions = consumer.position(consumer.assignment())
        positions = [position for position in positions if position.offset >= 0]
        is_aborted = number % 4 == 0
        if not is_sent(made, positions, consumer.consumer_group_metadata()):
            # Of the same id: what the old one has begun is aborted.
            made, anew, is_aborted = producer(bootstrap, transactional_id), anew + 1, True
        elif is_aborted:
            patiently(made.abort_transaction, 60)
        if is_aborted:
            firsts = {}
            for message in batch:
                firsts.setdefault(message.partition(), message.offset())
            for partition, offset in firsts.items():
                consumer.seek(TopicPartition(topic, partition, offset))
        else:
            patiently(made.commit_transaction, 60)
            copied += len(batch)
            say(copied=copied)
        time.sleep(float(pace))
    consumer.close()
    say(copied=copied, anew=anew)
    sys.stdout.flush()
    # A thread of librdkafka may still wait.
    os._exit(0)


def fence(bootstrap, topic, transactional_id):
    """A second producer takes the id over; tells what the first one hears and what the second one does."""
    first = producer(bootstrap, transactional_id)
    first.begin_transaction()
    first.produce(topic, "zombie", partition=0)
    first.flush(60)
    second = producer(bootstrap, transactional_id)
    heard = []
    try:
        first.produce(topic, "zombie again", partition=0)
        first.commit_transaction(60)
    except KafkaException as error:
        heard = [error.args[0].name(), error.args[0].fatal()]
    second.begin_transaction()
    second.produce(topic, "second", partition=0)
    second.commit_transaction(60)
    say(heard=heard)


def hold(bootstrap, topic, transactional_id):
    """Begins a transaction, sends one record, and holds it open until SIGTERM."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    made = producer(bootstrap, transactional_id, **{"transaction.timeout.ms": 600_000})
    made.begin_transaction()
    made.produce(topic, "held", partition=0)
    made.flush(60)
    say(held=True)
    while not stopped:
        time.sleep(0.1)
    say(stopped=True)


if __name__ == "__main__":
    VERBS = {"transact": transact, "read": read, "copy": copy, "fence": fence, "hold": hold}
    VERBS[sys.argv[1]](*sys.argv[2:])
