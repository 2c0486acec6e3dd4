"""How the app feels: from a key to the first changed cell, and the bytes that a key costs, in a large store.

    python tests/bench/keys.py [--runs 100000] [--points 10000000] [--keys 40] [--links-alone]

100,000 runs and 10 million points of metrics are stored, 8 runs are live (one step per second each), the terminal is
120x40. First in a terminal here, then (as root, with sshd: tests/rig/link.py) through `ssh -t` on a link
with a round trip of 150 ms, htop and lazygit (if installed) beside it in the same way; then pages at 64 kbit/s.
Targets: here p95 30 ms; over the link a median of 170 ms and p95 of 200; a whole page within 1 s at 64 kbit/s; a
cursor move with its pane .7 kB, a page 7 kB, the start 10 kB.
"""

from __future__ import annotations

import os
import select
import shutil
import statistics
import time
from contextlib import closing
from pathlib import Path

import bench
from link import Link, SshServer, why_not
from rig import SEVERAL, Rig
from terminal import Terminal

from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store, transaction

SIZE = (120, 40)
LIVE = 8
LONG = 100  # stored runs with points
KEYS = 10  # metrics of each
APP = bench.APP
NAMES = (0, 2, 27, 31)  # the list's name column: live runs change other cells by themselves
PEERS = {"htop": ("htop", "PID"), "lazygit": (f"lazygit -p {Path(__file__).parents[2]}", "Commits")}
SCREENS = (
    ("\r", "\x1b", "a run"), ("2", "1", "Triage"), ("3", "1", "Queue"), ("4", "1", "Launch"), ("?", "\x1b", "help"),
)  # fmt: skip
PAGE_DOWN, CURSOR_DOWN, DOWN = "\x1b[6~", "\x1b[B", "j"


def fill(home: Home, runs: int, points: int) -> None:
    """Store that many finished runs, all different, and this many points for the first of them."""
    prepare(home)
    connection = open_store(home.database)
    bench.store_runs(
        connection,
        runs,
        name="substr(md5(i::VARCHAR), 1, 12) || '-stored'",
        model="['qwen3-8b', 'gemma-3-4b', 'smollm2-135m'][1 + i % 3]",
        method="['lora', 'full', 'dora', 'qlora'][1 + i % 4]",
        steps="100 + i % 9000",
        last="""'{"loss":' || 1 + random() || '}'""",
    )
    for run in range(1, LONG + 1):  # one run at a time: the store has little memory
        with transaction(connection):
            connection.execute(
                "INSERT INTO metrics (run_id, key, step, time, value) SELECT ?, 'metric_' || k, s, s, random()"
                " FROM range(?) a(k), range(?) b(s) ORDER BY ALL",
                [run, KEYS, points // LONG // KEYS],
            )
    connection.close()


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def shown(what: str, waits: list[float], sizes: list[int]) -> None:
    median, late = 1000 * statistics.median(waits), 1000 * p95(waits)
    print(f"{what:<44}{median:>7.0f}{late:>7.0f} ms{statistics.median(sizes):>9,.0f} B", flush=True)


def press(app: Terminal, key: str) -> tuple[float, int]:
    """Press a key in a local terminal: return seconds until the first output, and bytes until it is silent again."""
    app.pump(0.3)
    before, began = app.bytes, time.monotonic()
    app.keys(key)
    while app.bytes == before:
        assert time.monotonic() < began + 20, app.text()
        app.pump(0.001)
    waited = time.monotonic() - began
    until = time.monotonic() + 0.35
    while time.monotonic() < until:
        app.pump(0.05)
    return waited, app.bytes - before


def here(rig: Rig, keys: int) -> None:
    app = Terminal(APP, rig.home.root, *SIZE)
    app.wait_text("live-")
    app.pump(1.0)
    print(f"{'start until it is silent':<58}{app.bytes:>9,} B")
    app.keys("/")
    for letter in "stored":
        app.keys(letter)
        app.pump(0.2)
    app.keys("\r")
    app.pump(2.0)
    for what, key in (("cursor down, its pane with it", DOWN), ("page down", PAGE_DOWN)):
        presses = [press(app, key) for _ in range(keys)]
        shown(what, [seconds for seconds, _ in presses], [size for _, size in presses])
    app.keys("\x1b")
    app.pump(2.0)
    presses = [press(app, DOWN) for _ in range(min(keys, LIVE + 10))]
    shown(
        "cursor down, live runs in view", [seconds for seconds, _ in presses], [size for _, size in presses]
    )
    app.close()


def through(app: Terminal, keys: int, what: str, region: tuple[int, int, int, int] = (0, 0, *SIZE)) -> None:
    """Press a key over the link; only `region` is watched, because other cells change by themselves."""
    waits, sizes = [], []
    for _ in range(keys):
        app.settle(0.15)
        shown_before, before, began = look(app, region), app.bytes, time.monotonic()
        app.keys(CURSOR_DOWN)
        while look(app, region) == shown_before:
            assert select.select([app.master], [], [], 5)[0], app.text()
            arrived = time.monotonic()  # before the emulator's own work
            app.pump(0.005)
        waits.append(arrived - began)
        sizes.append(app.bytes - before)
    shown(what, waits, sizes)


def look(app: Terminal, region: tuple[int, int, int, int]) -> tuple[object, ...]:
    """Return the cells of a region, their attributes too: a cursor may be a colour alone."""
    left, top, right, bottom = region
    buffer = app.screen.buffer
    return tuple(buffer[y][x] for y in range(top, bottom) for x in range(left, right))


def pages(app: Terminal, keys: list[str], what: str) -> None:
    """Press keys over a slow link, each once all output has arrived and a second has passed in silence."""
    done, sizes = [], []
    for key in keys:
        app.settle(1.0)
        before, began, arrived = app.bytes, time.monotonic(), 0.0
        app.keys(key)
        while not arrived or time.monotonic() < arrived + 1.0:
            assert arrived or time.monotonic() < began + 10, app.text()
            had = app.bytes
            app.pump(0.005)
            arrived = time.monotonic() if app.bytes > had else arrived
        done.append(arrived - began)
        sizes.append(app.bytes - before)
    shown(what, done, sizes)


def only_stored(app: Terminal) -> None:
    app.keys("/")
    for letter in "stored":
        app.keys(letter)
        app.settle(0.4, 5)
    app.keys("\r")
    app.settle(1.5)


def over_links(rig: Rig, keys: int) -> None:
    if why := why_not():
        print(f"over a link: not measured, {why}")
        return
    there = f"FINETOP_HOME={rig.home.root} PYTHONPATH={os.environ.get('PYTHONPATH', '')} {' '.join(APP)}"
    with Link(delay_ms=75.0) as link, SshServer(link) as server:
        with closing(Terminal(server.command(there), rig.home.root, *SIZE)) as app:
            app.wait_text("live-")
            through(app, keys, "ssh, 150 ms: cursor down", NAMES)
        for peer, (command, ready) in PEERS.items():
            if not shutil.which(peer):
                print(f"peer, {peer}: not installed")
                continue
            with closing(Terminal(server.command(command), rig.home.root, *SIZE)) as app:
                app.wait_text(ready)
                app.settle(1.0)
                through(app, keys, f"peer, {peer}: cursor down")
    with (
        Link(delay_ms=75.0, rate_kbit=64.0) as link,
        SshServer(link) as server,
        closing(Terminal(server.command(there), rig.home.root, *SIZE)) as app,
    ):
        app.wait_text("live-")
        app.settle(2.0, 20)
        only_stored(app)
        through(app, keys, "ssh, 150 ms, 64 kbit/s: cursor down", NAMES)
        pages(app, [PAGE_DOWN] * (keys // 2), "ssh, 150 ms, 64 kbit/s: a page, whole")
        for key, back, screen in SCREENS:
            pages(app, [key, back] * 3, f"ssh, 150 ms, 64 kbit/s: {screen} and back")


def main() -> None:
    args = bench.options(__doc__, runs=100_000, points=10_000_000, keys=40, links_alone=False)
    rig = Rig(Home(bench.folder_of_its_own() / "home"), settings=SEVERAL)
    fill(rig.home, args.runs, args.points)
    rig.up()
    try:
        for number in range(LIVE):
            rig.submit(f"live-{number}", steps=100_000, pause_s=1.0, start=600)
        rig.wait_state(f"live-{LIVE - 1}", "running")
        print(
            f"{args.runs:,} runs, {args.points:,} points, {LIVE} live, {SIZE[0]}x{SIZE[1]}: median, p95, bytes"
        )
        if not args.links_alone:
            here(rig, args.keys)
        over_links(rig, args.keys)
    finally:
        rig.stop_all()


if __name__ == "__main__":
    main()
