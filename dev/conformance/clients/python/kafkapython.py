"""kafka-python, the client written in Python alone: writer, reader and group member.

Called as `kafkapython.py VERB BOOTSTRAP TOPIC ...`, with the same lines of output as the other clients.
"""

import json
import logging
import signal
import sys

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from digest import Digest
from flights import rows

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}


def say(**event):
    print(json.dumps(event), flush=True)


def write(bootstrap, topic, path, first, last, codec="none"):
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20,
                             compression_type=None if codec == "none" else codec)
    sent = [producer.send(topic, value, key, headers=[("row", str(number).encode())], timestamp_ms=timestamp)
            for number, key, timestamp, value in rows(path, int(first), int(last))]
    producer.flush(120)
    failed = [str(one.exception) for one in sent if not one.succeeded()]
    say(acked=len(sent) - len(failed), failed=len(failed), errors=failed[:3])


def read(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="none",
                             check_crcs=True, fetch_max_bytes=16 << 20, max_partition_fetch_bytes=4 << 20)
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    low, high = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    waiting = {p for p in partitions if high[p] > low[p]}
    consumer.assign(sorted(waiting))
    for partition in waiting:
        consumer.seek(partition, low[partition])
    digest = Digest()
    while waiting:
        batches = consumer.poll(timeout_ms=30_000, max_records=20_000)
        if not batches:
            raise SystemExit(f"nothing for 30 s, {waiting} not reached")
        for partition, records in batches.items():
            for r in records:
                digest.add(r.key, r.timestamp, dict(r.headers).get("row", b""), r.value)
            if consumer.position(partition) >= high[partition]:
                waiting.discard(partition)
    consumer.close()
    say(**digest.summary())


class Listener(ConsumerRebalanceListener):
    def __init__(self):
        self.held = set()

    def on_partitions_revoked(self, revoked):
        self.held -= {p.partition for p in revoked}
        say(assigned=sorted(self.held))

    def on_partitions_assigned(self, assigned):
        self.held |= {p.partition for p in assigned}
        say(assigned=sorted(self.held))


def member(bootstrap, topic, group, strategy, instance=""):
    # Shown by the harness when this member does not do what is expected of it.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    more = {"group_instance_id": instance} if instance else {}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                             enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
                             metadata_max_age_ms=2000, reconnect_backoff_max_ms=500,
                             partition_assignment_strategy=[ASSIGNORS[strategy]], **more)
    consumer.subscribe([topic], listener=Listener())
    owing = False
    while not stopped:
        batches = consumer.poll(timeout_ms=100, max_records=500)
        if batches:
            say(records=[[p.partition, rs[0].offset, rs[-1].offset] for p, rs in batches.items()])
            owing = True
        if owing:
            try:
                consumer.commit()
                owing = False
            except Exception as error:  # a rebalance in between: what stays here is committed again
                say(commit_failed=str(error))
    consumer.close()
    say(closed=True)


VERBS = {f.__name__: f for f in (write, read, member)}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
