"""Events into the store: the real supervisor with 1, 8 and 64 writing jobs, beside plain DuckDB appends of the rows.

    python tests/bench/ingest.py [--repeats 3] [--events 200000] [--watch 20]

Flood: events of six values, shared among the jobs, as fast as they can through the real EventLog, until the last is in
the store. The peer appends the same rows, made beforehand, with DuckDB's appender, 2,000 per commit: no reading, no
decoding, no clients. Live: each job reports one step per second; the supervisor's share of one core, and its memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench
from rig import Rig

from finetop.core.protocol.messages.runs import Runs, Sql
from finetop.core.protocol.runs import word
from finetop.core.runtime.home import Home

WRITERS = (1, 8, 64)
VALUES = 6
JOB = bench.RIG / "writing_job.py"
KEYS = ("epoch", "grad_norm", "learning_rate", "loss", "memory_gib", "tokens_per_s")


class Writers:
    """A home with the real supervisor and jobs that wait for the signal to write."""

    def __init__(self, folder: Path, count: int, *, steps: int, pause_s: float) -> None:
        self.rig = Rig(Home(folder / "home"), settings=f"settings: 1\nslots: {{cpu_jobs: {count}}}\n")
        self._go = folder / "go"
        self.process = self.rig.up(FINETOP_TEST_JOB=str(JOB), FINETOP_SPARE="0")
        for number in range(count):
            after = pause_s * number / count  # not all at the same moment
            self.rig.submit(
                f"writer-{number:02d}", steps=steps, pause_s=pause_s, go=str(self._go), after_s=after
            )
        self.wait("SELECT count(*) FROM jobs WHERE last_n >= 2", count)

    def go(self) -> None:
        self._go.touch()

    def wait(self, query: str, wanted: int) -> None:
        deadline = time.monotonic() + 300
        while self.rig.ask(Sql(query)).rows[0][0] < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{query} never gave {wanted}; {self.rig.home.log.read_text()}")
            time.sleep(0.1)

    def cpu_s(self) -> float:
        return bench.cpu_of(self.process.pid)

    def close(self) -> None:
        self.rig.stop_all()


def flood(count: int, events: int) -> tuple[float, float, float]:
    """Return (wall seconds, the supervisor's CPU seconds, its peak memory in MB) until all events are in the store."""
    steps = events // count
    with tempfile.TemporaryDirectory(prefix="ingest") as folder:
        writers = Writers(Path(folder), count, steps=steps, pause_s=0.0)
        try:
            began, cpu = time.monotonic(), writers.cpu_s()
            writers.go()
            writers.wait("SELECT coalesce(sum(last_n), 0)::BIGINT FROM jobs", count * (steps + 3))
            wall, used = time.monotonic() - began, writers.cpu_s() - cpu
            rows = writers.rig.ask(Sql("SELECT count(*) FROM metrics")).rows[0][0]
            assert rows == count * steps * VALUES, f"{rows} rows of {count * steps * VALUES}"
            return wall, used, bench.memory_mb(writers.process.pid, "VmHWM")
        finally:
            writers.close()


def live(count: int, seconds: float) -> tuple[float, float]:
    """Return (share of one core, memory in MB) of a supervisor whose jobs each report one step per second."""
    with tempfile.TemporaryDirectory(prefix="ingest") as folder:
        writers = Writers(Path(folder), count, steps=100_000, pause_s=1.0)
        try:
            writers.go()
            writers.wait("SELECT count(DISTINCT run_id) FROM metrics", count)
            time.sleep(3)
            began, cpu = time.monotonic(), writers.cpu_s()
            time.sleep(seconds)
            share = (writers.cpu_s() - cpu) / (time.monotonic() - began)
            states = [word(row.state) for row in writers.rig.ask(Runs(limit=100)).rows]
            assert states == ["running"] * count, states
            return share, bench.memory_mb(writers.process.pid)
        finally:
            writers.close()


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


def peer(events: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="ingest") as folder:
        command = [sys.executable, __file__, "--peer", f"{folder}/plain.duckdb", "--events", str(events)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall, cpu = done.stdout.split()
        return float(wall), float(cpu)


def main() -> int:
    args = bench.options(
        __doc__, repeats=3, events=200_000, watch=20.0,
        writers={"type": int, "nargs": "*", "default": list(WRITERS)}, peer=(str, argparse.SUPPRESS),
    )  # fmt: skip
    if args.peer:
        plain_appends(args.peer, args.events)
        return 0
    print(
        f"{args.events:,} events of {VALUES} values; medians of {args.repeats}; load {os.getloadavg()[0]:.1f}"
    )
    floods: dict[int, list[tuple[float, float, float]]] = {count: [] for count in args.writers}
    peers = []
    for _ in range(args.repeats):
        peers.append(peer(args.events))
        for count in args.writers:
            floods[count].append(flood(count, args.events))
    plain_wall, plain_cpu = (statistics.median(column) for column in zip(*peers, strict=True))
    print(f"{'':<24}{'events/s':>10}{'CPU s':>8}{'events a CPU s':>16}{'x plain CPU':>13}{'peak MB':>9}")

    def said(what: str, wall: float, cpu: float, peak: str) -> None:
        rate, of_cpu = args.events / wall, args.events / cpu
        print(f"{what:<24}{rate:>10,.0f}{cpu:>8.2f}{of_cpu:>16,.0f}{cpu / plain_cpu:>13.2f}{peak:>9}")

    said("plain DuckDB appends", plain_wall, plain_cpu, "")
    for count, costs in floods.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*costs, strict=True))
        said(f"flood, {count} writers", wall, cpu, f"{peak:.0f}")
    for count in args.writers:
        share, memory = live(count, args.watch)
        print(
            f"live, {count:>2} x 1 step/s: {share:6.1%} of one core, {memory:.0f} MB; load {os.getloadavg()[0]:.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
