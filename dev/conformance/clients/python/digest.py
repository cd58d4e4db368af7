"""One number for what was read, the same in every language, whatever the partitions and their interleaving.

Per key a running SHA-256 takes each record in order: timestamp (8 bytes, big endian), the header `row` and the value
(each as 4 bytes length and bytes). The total is the SHA-256 over the keys in byte order, each as length, bytes and its
digest. Records without a key have no order among each other: their single digests are sorted instead.
"""

import hashlib
import struct


def framed(data):
    return struct.pack(">I", len(data)) + data


class Digest:
    def __init__(self):
        self.keys, self.keyless, self.seen, self.count = {}, [], set(), 0

    def add(self, key, timestamp, row, value):
        record = struct.pack(">q", timestamp) + framed(row) + framed(value)
        self.count += 1
        self.seen.add(row)
        if key is None:
            self.keyless.append(hashlib.sha256(record).digest())
        else:
            running = self.keys.get(key)
            if running is None:
                running = self.keys[key] = hashlib.sha256()
            running.update(record)

    def summary(self):
        total = hashlib.sha256()
        for one in sorted(self.keyless):
            total.update(one)
        for key in sorted(self.keys):
            total.update(framed(key) + self.keys[key].digest())
        return {"count": self.count, "rows": len(self.seen), "keys": len(self.keys), "digest": total.hexdigest()}
