"""How the app feels: from a key to the first changed cell, and the bytes that a key costs, in a large store.

    [FINETOP_TEST_RIG=FOLDER] python tests/bench/keys.py [--runs 100000] [--points 10000000] [--keys 40] [--links-alone]

100,000 runs and 10 million points of metrics are stored, 8 runs are live (one step per second each), the terminal is
120x40. First in a terminal here, then (as root, with sshd and the rig of tests/rig/far.py) through `ssh -t` on a link
with a round trip of 150 ms, htop and lazygit (if installed) beside it in the same way; then pages at 64 kbit/s.
Targets: here p95 30 ms; over the link a median of 170 ms and p95 of 200; a whole page within 1 s at 64 kbit/s; a
cursor move with its pane .7 kB, a page 7 kB, the start 10 kB.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import bench
import far
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
    ("enter", "esc", "a run"), ("2", "1", "Triage"), ("3", "1", "Queue"), ("4", "1", "Launch"), ("?", "esc", "help"),
)  # fmt: skip
PAGE_DOWN, DOWN = "\x1b[6~", "j"


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


def through(tui: Any, keys: int, what: str, region: tuple[int, int, int, int] | None = None) -> None:
    """Press a key over the link; only `region` is watched, because other cells change by themselves."""
    waits, sizes = [], []
    for _ in range(keys):
        waited = tui.key_latency("down", region=region)
        assert waited is not None, tui.text()
        waits.append(waited)
        sizes.append(tui.last_latency_bytes)
    shown(what, waits, sizes)


def pages(tui: Any, keys: list[str], what: str) -> None:
    """Press keys over a slow link, each once all output has arrived and a second has passed in silence."""
    done, sizes = [], []
    for key in keys:
        _, whole, size = tui.key_cost(key, quiet=1.0, timeout=10.0)
        assert whole is not None, tui.text()
        done.append(whole)
        sizes.append(size)
    shown(what, done, sizes)


def only_stored(tui: Any) -> None:
    tui.key("/")
    for letter in "stored":
        tui.key(letter)
        tui.settle(0.4, 5)
    tui.key("enter")
    tui.settle(1.5, 10)


def over_links(rig: Rig, keys: int) -> None:
    if why := far.missing():
        print(f"over a link: not measured, {why}")
        return
    tools = far.load_rig()
    there = f"FINETOP_HOME={rig.home.root} PYTHONPATH={os.environ.get('PYTHONPATH', '')} {' '.join(APP)}"
    size = {"cols": SIZE[0], "rows": SIZE[1]}
    with tools.Link(delay_ms=75.0) as link, tools.SshServer(link) as server:
        with tools.Tui(server.command(there), **size) as tui:
            tui.wait_text("live-", timeout=60)
            through(tui, keys, "ssh, 150 ms: cursor down", NAMES)
        for peer, (command, ready) in PEERS.items():
            if not shutil.which(peer):
                print(f"peer, {peer}: not installed")
                continue
            with tools.Tui(server.command(command), **size) as tui:
                tui.wait_text(ready, timeout=30)
                tui.settle(1.0, 5)
                through(tui, keys, f"peer, {peer}: cursor down")
    with (
        tools.Link(delay_ms=75.0, rate_kbit=64.0) as link,
        tools.SshServer(link) as server,
        tools.Tui(server.command(there), **size) as tui,
    ):
        tui.wait_text("live-", timeout=60)
        tui.settle(2.0, 20)
        only_stored(tui)
        through(tui, keys, "ssh, 150 ms, 64 kbit/s: cursor down", NAMES)
        pages(tui, ["pagedown"] * (keys // 2), "ssh, 150 ms, 64 kbit/s: a page, whole")
        for key, back, screen in SCREENS:
            pages(tui, [key, back] * 3, f"ssh, 150 ms, 64 kbit/s: {screen} and back")


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
