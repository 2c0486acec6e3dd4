"""Events into the store: the real supervisor with 1, 8 and 64 writing jobs, beside plain DuckDB appends of the rows.

    python tests/bench/ingest.py [--repeats 3] [--events 200000]

Flood: events of six values, shared among the jobs, as fast as they can through the real EventLog, until the last is in
the store. The peer appends the same rows, made beforehand, with DuckDB's appender, 2,000 per commit: no reading, no
decoding, no clients. What jobs of one step per second cost is measured by event_to_screen.py.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import bench

from finetop.core.protocol.messages.runs import Sql

WRITERS = (1, 8, 64)
VALUES = 6
KEYS = ("epoch", "grad_norm", "learning_rate", "loss", "memory_gib", "tokens_per_s")


def flood(count: int, events: int) -> tuple[float, float, float]:
    """Return (wall seconds, the supervisor's CPU seconds, its peak memory in MB) until all events are in the store."""
    steps = events // count
    with bench.writers(count, steps=steps, pause_s=0.0) as writers:
        began, cpu = time.monotonic(), bench.cpu_of(writers.process.pid)
        writers.go()
        writers.wait("SELECT coalesce(sum(last_n), 0)::BIGINT FROM jobs", count * (steps + 3))
        wall, used = time.monotonic() - began, bench.cpu_of(writers.process.pid) - cpu
        rows = writers.rig.ask(Sql("SELECT count(*) FROM metrics")).rows[0][0]
        assert rows == count * steps * VALUES, f"{rows} rows of {count * steps * VALUES}"
        return wall, used, bench.memory_mb(writers.process.pid, "VmHWM")


def plain_appends(file: str, events: int) -> None:
    """Run the peer in this process; print wall and CPU seconds."""
    from finetop.core.store.database import open_store, transaction

    connection = open_store(Path(file))
    rows = [
        (1, key, step, time.time(), 1.0 / (step + number + 1), None)
        for step in range(events)
        for number, key in enumerate(KEYS)
    ]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    for at in range(0, len(rows), 2000):
        with transaction(connection), connection.appender("metrics") as appender:
            appender.append_rows(rows[at : at + 2000])
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{time.monotonic() - began:.4f} {cpu:.4f}")


def peer(events: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        return [*map(float, bench.again("--peer", f"{folder}/plain.duckdb", "--events", events).split())]


def main() -> int:
    args = bench.options(
        __doc__, repeats=3, events=200_000,
        writers={"type": int, "nargs": "*", "default": list(WRITERS)}, peer=(str, argparse.SUPPRESS),
    )  # fmt: skip
    if args.peer:
        plain_appends(args.peer, args.events)
        return 0
    print(f"{args.events:,} events of {VALUES} values; medians of {args.repeats}; {bench.load()}")
    floods: dict[int, list[tuple[float, float, float]]] = {count: [] for count in args.writers}
    peers = []
    for _ in range(args.repeats):
        peers.append(peer(args.events))
        for count in args.writers:
            floods[count].append(flood(count, args.events))
    plain_wall, plain_cpu = bench.medians(peers)
    print(f"{'':<24}{'events/s':>10}{'CPU s':>8}{'events a CPU s':>16}{'x plain CPU':>13}{'peak MB':>9}")

    def said(what: str, wall: float, cpu: float, peak: str) -> None:
        rate, of_cpu = args.events / wall, args.events / cpu
        print(f"{what:<24}{rate:>10,.0f}{cpu:>8.2f}{of_cpu:>16,.0f}{cpu / plain_cpu:>13.2f}{peak:>9}")

    said("plain DuckDB appends", plain_wall, plain_cpu, "")
    for count, costs in floods.items():
        wall, cpu, peak = bench.medians(costs)
        said(f"flood, {count} writers", wall, cpu, f"{peak:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
