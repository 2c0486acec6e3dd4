"""Fault 19: jobs that flood: lines of 100 MB, a million lines a second, progress bars, no newline, events at once.

None of them may affect the memory of supervisor, app and commands, the disk, the keys, or any event.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn import drawn
from terminal import Terminal
from waiting import LIMIT_S, wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun, Runs, Sql
from finetop.core.protocol.runs import word

JOB = Path(__file__).parents[1] / "rig" / "flooding_job.py"
MEMORY_MB = 200
LOG_MIB = 8
# what a flood writes in the second before its first check, where memory is as fast as it ever gets
SLACK_MIB = 1500
SHORT_S, LONG_S = 1.5, 20.0
FLOODS = {  # what is written -> for how long, in which way, bytes a write, events a second
    "a line of 30 MB": (SHORT_S, "line", 30 << 20, 20),
    "a flood of lines": (SHORT_S, "lines", 1 << 16, 20),
    "events and a progress bar without pause": (SHORT_S, "bar", 20, 0),
    "a line of 100 MB": (LONG_S, "line", 100 << 20, 50),
    "a million lines a second": (LONG_S, "lines", 1 << 20, 50),
    "a progress bar for long": (LONG_S, "bar", 2000, 50),
    "no newline at all for long": (LONG_S, "endless", 1 << 20, 50),
    "events without pause for long": (LONG_S, "bar", 20, 0),
}


def highest_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{pid} is gone")


def key_s(app: Terminal) -> float:
    """Seconds from a key to what it shows: the help, and back again; the longer one."""
    taken = []
    for is_shown in (True, False):
        began = time.monotonic()
        app.keys("?")
        wait_until(
            lambda: app.pump(0.01) or ("zoom out" in app.text()) == is_shown,  # noqa: B023
            lambda: f"'?' is not obeyed:\n{app.text()}",
        )
        taken.append(time.monotonic() - began)
    return max(taken)


def endure(rig, terminal_of, plan: dict, seconds: float) -> dict:
    """Let a job flood for a while, with the app on its log. Return the counts."""
    (rig.home.root).mkdir(parents=True, exist_ok=True)
    (rig.home.root / "settings.yaml").write_text(f"settings: 1\nlogs: {{mib: {LOG_MIB}}}\n")
    supervisor = rig.up(FINETOP_TEST_JOB=str(JOB))
    name = rig.submit("flood", **plan)
    rig.wait_state(name, "running")
    app = terminal_of(rig.home.root, columns=120, rows=40)
    app.wait_text(name)
    app.keys("\r")
    app.wait_text("loss")
    app.keys("l")
    folder = rig.job_folder(name)
    printed = rig.home.root.parent / "printed"
    command = [sys.executable, "-m", "finetop.tui.main", "tail", name, "--log"]
    with printed.open("wb") as out:
        own = {**os.environ, "FINETOP_HOME": str(rig.home.root)}
        tail = subprocess.Popen(command, stdout=out, env=own)
    until, keys, answers, disk = time.monotonic() + seconds, [], [], 0.0
    while not keys or time.monotonic() < until:
        keys.append(key_s(app))
        began = time.monotonic()
        rig.ask(Runs())
        answers.append(time.monotonic() - began)
        disk = max(disk, (folder / "log.txt").stat().st_blocks / 2048)
    tail_mb = highest_mb(tail.pid)
    rig.ask(Stop(name))
    rig.wait_state(name, "stopped")
    assert tail.wait(LIMIT_S) == 0
    side = [int(line) for line in (folder / "side.txt").read_text().split()]
    stored = rig.ask(
        Sql("SELECT count(*), count(DISTINCT step), max(step) FROM metrics WHERE key = 'loss'")
    ).rows[0]
    assert word(rig.ask(GetRun(name)).row.state) == "stopped"
    longest = max((len(line) for line in printed.read_bytes().split(b"\n")), default=0)
    return {
        "written": len(side), "lost": len(side) - stored[1], "doubled": stored[0] - stored[1],
        "supervisor MB": highest_mb(supervisor.pid), "app MB": highest_mb(app.pid), "tail MB": tail_mb,
        "log MiB": disk, "longest line": longest, "keys": sorted(keys), "answers": sorted(answers),
    }  # fmt: skip


def judge(found: dict, what: str, survived) -> None:
    """Check that nothing grew out of bounds, and report it; `-s` shows the numbers."""
    for times in ("keys", "answers"):
        found[f"{times} p50, max ms"] = [
            round(1000 * found[times][at]) for at in (len(found[times]) // 2, -1)
        ]
    print(what, {key: value for key, value in found.items() if key not in ("keys", "answers")})
    for part in ("supervisor MB", "app MB", "tail MB"):
        assert found[part] < MEMORY_MB, f"{what}: {part} {found[part]:.0f}"
    assert found["log MiB"] < LOG_MIB + SLACK_MIB
    assert found["longest line"] <= 4096
    survived(
        "19", f"{what} (key {found['keys p50, max ms'][0]} ms)",
        written=found["written"], lost=found["lost"], doubled=found["doubled"],
    )  # fmt: skip


@pytest.mark.parametrize("what", drawn(FLOODS, 4))
def test_a_flood_is_endured(cold_rig, terminal_of, survived, what):
    seconds, way, size, events = FLOODS[what]
    plan = {"log": way, "bytes": size, "events": events}
    judge(endure(cold_rig, terminal_of, plan, seconds), what, survived)
