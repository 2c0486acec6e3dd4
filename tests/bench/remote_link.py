"""The app here on a remote supervisor, over ssh on a slow link: how long it takes, what crosses, what is lost.

    python tests/bench/remote_link.py [--out FOLDER]     (root, sshd; see tests/rig/link.py)

Per link: seconds and bytes on the wire (both ways, with TCP and IP) until the first run is on the screen, a second
start, rates of the list, of a run and of a `tail`, the time until a pulled cable is reported and until recovery, a
killed session; then what a `tail` showed over all that, compared with the job's own record. Beside it the same app
started on the remote machine, in a terminal through ssh.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import bench
import far
from link import why_not
from terminal import Terminal

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun

LINKS = (("150 ms, 1 % loss", 0.0), ("150 ms, 1 % loss, 64 kbit/s", 64.0))
SIZE = (120, 40)
WATCH_S = 30.0
QUEUED = 30
APP = bench.APP


class Watch:
    """Seconds and bytes on the wire since it was created."""

    def __init__(self, host: far.Far) -> None:
        self._host, self._began, self._bytes = host, time.monotonic(), host.link.wire()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def bytes(self) -> int:
        return self._host.link.wire() - self._bytes


def print_row(what: str, seconds: float | None, size: float | None, unit: str = "bytes") -> None:
    shown = "" if seconds is None else f"{seconds:.1f} s"
    print(f"  {what:<52}{shown:>9}{'' if size is None else f'{size:>12,.0f} {unit}'}", flush=True)


def app_of(host: far.Far) -> Terminal:
    return Terminal(
        [*APP, *host.options],
        Path(host.environment["FINETOP_HOME"]),
        *SIZE,
        **{name: value for name, value in host.environment.items() if name != "FINETOP_HOME"},
    )


def rate(host: far.Far, tui: Terminal, what: str) -> None:
    """Watch for a while, and print the bytes per second."""
    watch = Watch(host)
    while watch.seconds < WATCH_S:
        tui.pump(0.2)
    print_row(what, None, watch.bytes / watch.seconds, "bytes/s")


def measure(host: far.Far, out: Path | None) -> None:
    name = host.rig.submit("far-one", steps=100_000, pause_s=0.2, start=1)
    host.rig.wait_state(name, "running")
    for number in range(QUEUED):
        host.rig.submit(f"waits-{number:02d}", steps=3)
    for what in ("start, the host never seen before", "start again"):
        watch = Watch(host)
        with closing(app_of(host)) as tui:
            look_around(host, tui, watch, what, "" if what == "start again" else None)
    peer(host)
    tails(host, name)
    with (host.folder / "tail.txt").open("w") as output:
        tail = subprocess.Popen(
            [*APP, *host.options, "tail", name, "--json", "-n", "9999"],
            stdout=output, stderr=subprocess.DEVNULL, env={**os.environ, **host.environment},
        )  # fmt: skip
        with closing(app_of(host)) as tui:
            drops(host, tui, out)
        host.rig.ask(Stop(name))
        tail.wait(180)
    steps = [json.loads(line)["step"]["step"] for line in (host.folder / "tail.txt").read_text().splitlines()]
    wrote = [int(line) for line in (host.rig.job_folder(name) / "side.txt").read_text().split()]
    lost, doubled = len(set(wrote) - set(steps)), len(steps) - len(set(steps))
    attempts = host.rig.ask(GetRun(name)).jobs[0].attempt
    print(
        f"  a tail over all this: {len(wrote)} steps written, {lost} lost, {doubled} doubled; attempts {attempts}"
    )


def look_around(host: far.Far, tui: Terminal, watch: Watch, what: str, whose: str | None) -> None:
    """Print what the start cost and, unless None, the rates of the list and of a run; then leave."""
    tui.wait_text("far-one")
    print_row(what, watch.seconds, watch.bytes)
    tui.settle(2.0, 20)
    if whose is not None:
        rate(host, tui, f"{whose}the list, one run live")
        tui.keys("\r")
        tui.wait_text("metrics")
        tui.settle(2.0, 10)
        rate(host, tui, f"{whose}the run's charts and log, live")
    tui.keys("q")
    tui.settle(1.0, 5)


def over_there(host: far.Far) -> str:
    """Return the peers' environment settings: this finetop, that home."""
    return f"PYTHONPATH={os.environ.get('PYTHONPATH', '')} FINETOP_HOME={host.rig.home.root}"


def peer(host: far.Far) -> None:
    """Measure the same app on the remote machine, its pictures sent through ssh."""
    there = f"{over_there(host)} {' '.join(APP)}"
    watch = Watch(host)
    with closing(Terminal(host.server.command(there), host.rig.home.root, *SIZE)) as tui:
        look_around(host, tui, watch, "peer: `ssh -t HOST finetop`, start", "peer: ")


def tails(host: far.Far, name: str) -> None:
    """Measure `finetop tail` from here, and its peer: the same on the remote machine, through ssh."""
    there = f"{over_there(host)} {' '.join(APP)} tail {name} --json"
    for what, command, own in (
        ("finetop --on HOST tail --json", [*APP, *host.options, "tail", name, "--json"], host.environment),
        ("peer: `ssh HOST finetop tail --json`", host.server.command(there, "-T"), {}),
    ):
        tail = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **own}
        )
        assert tail.stdout is not None
        while not json.loads(tail.stdout.readline()).get("step"):
            pass
        watch, lines = Watch(host), 0
        while watch.seconds < WATCH_S:
            tail.stdout.readline()
            lines += 1
        print_row(
            f"{what}, {lines / watch.seconds:.1f} steps/s", None, watch.bytes / watch.seconds, "bytes/s"
        )
        tail.terminate()
        tail.wait()
        tail.stdout.close()


def drops(host: far.Far, tui: Terminal, out: Path | None) -> None:
    tui.wait_text("far-one")
    tui.settle(2.0, 10)
    tui.keys("\r")
    tui.wait_text("metrics")
    for how in ("by itself", "R pressed"):
        host.link.down()
        watch = Watch(host)
        tui.wait_text("NO LINK")
        print_row("cable pulled, until it is said", watch.seconds, None)
        picture(tui, out, "down")
        time.sleep(20)  # a person finds the cable
        host.link.up()
        watch = Watch(host)
        if how == "R pressed":
            tui.keys("R")
        tui.wait_gone("NO LINK")
        print_row(f"cable back, until connected, {how}", watch.seconds, watch.bytes)
        tui.settle(2.0, 10)
        picture(tui, out, "back")
    watch = Watch(host)
    host.server.drop()
    tui.wait_text("reconnecting")
    tui.wait_gone("NO LINK")
    print_row("session killed, until connected by itself", watch.seconds, watch.bytes)
    tui.keys("q")
    tui.wait_end()


def picture(tui: Terminal, out: Path | None, name: str) -> None:
    if out is not None:
        (out / f"{name}.txt").write_text(tui.text())


def main() -> int:
    args = bench.options(
        __doc__,
        out=(Path, "a folder for screens as text"),
        link=({"type": int, "choices": range(len(LINKS))}, "one of the links alone"),
    )
    if reason := why_not():
        bench.skip(reason)
    for words, kbit in LINKS if args.link is None else LINKS[args.link : args.link + 1]:
        print(f"\n{words} ({SIZE[0]}x{SIZE[1]}, {QUEUED + 1} runs; {bench.load()})", flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="far") as folder,
            far.far_host(Path(folder), rate_kbit=kbit) as host,
        ):
            measure(host, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
