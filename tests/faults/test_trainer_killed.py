"""Faults 3 and 12: kill -9 of the trainer at random steps; reused pids, whose new owners are never signalled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rig import SEVERAL, counted
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime import processes


def begun(rig, **plan) -> tuple[str, dict[str, int]]:
    """Queue a run, and wait until it trains. Return its name and its keeper's record."""
    name = rig.submit(**plan)
    wait_until(lambda: rig.ask(GetRun(name)).row.step, "it trains")
    return name, rig.keeper(name)


@pytest.mark.parametrize("repeats", [times(30, 4)])
def test_a_trainer_killed_at_a_random_step_is_said_to_be_killed_and_its_last_step_is_right(
    rig, survived, repeats
):
    moments = random.Random(3)
    total: Counter[str] = Counter()
    for _ in range(repeats):
        name, record = begun(rig, steps=100_000, pause_s=0.002)
        time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
        os.kill(record["job_pid"], signal.SIGKILL)
        row = rig.wait_state(name, "failed")
        reported, side = rig.told_and_written(name)
        state = row.state
        total["wrong"] += (state.kind, state.cause, state.signal) != ("killed", "killed by signal 9", 9)
        total["wrong"] += "out of memory" in state.hint
        total["wrong"] += row.step != max(reported)
        total.update(counted(reported, side))
    survived("3", "kill -9 of the trainer at a random step", repeats=repeats, **total,
             orphans=len(rig.orphans()))  # fmt: skip


def test_a_stranger_in_a_keepers_place_is_never_signalled(cold_rig, survived):
    """The record names a live process that started at another time, or under another boot."""
    rig, cold_rig.settings = cold_rig, SEVERAL
    rig.up()
    name, record = begun(rig, steps=100_000, pause_s=0.01)
    file = rig.job_folder(name) / "keeper.json"
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    wrong = 0
    of_another_boot = {"start": processes.start_time(stranger.pid), "boot": "of-another-boot"}
    for other in ({"pid": stranger.pid}, {"pid": stranger.pid, **of_another_boot}):
        file.write_text(json.dumps({**record, **other}))
        rig.ask(Kill(name))
        rig.wait_state(rig.submit(steps=1), "finished")  # the supervisor has done several rounds
        wrong += stranger.poll() is not None
        wrong += not processes.alive(record["job_pid"])
    file.write_text(json.dumps(record))
    wrong += rig.wait_state(name, "stopped").state.how != "kill"
    wrong += stranger.poll() is not None
    stranger.kill()
    stranger.wait()
    survived("12", "a record that names a stranger", repeats=2, wrong=wrong, orphans=len(rig.orphans()))


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def sleeper(pid: int | None = None) -> subprocess.Popen[bytes]:
    """Start a process that sleeps, under a pid that is free."""
    if pid is not None:
        LAST_PID.write_text(str(pid - 1))
    return subprocess.Popen(["sleep", "600"])


@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="pids can't be chosen here: not root")
def test_a_pid_that_a_stranger_has_got_since_is_not_signalled(survived):
    wrong = repeats = 0
    for _ in range(200):
        first = sleeper()
        start = processes.start_time(first.pid)
        first.kill()
        first.wait()
        time.sleep(0.011)  # the clock of start times ticks 100 times a second
        stranger = sleeper(first.pid)
        if stranger.pid == first.pid:  # otherwise another process was quicker
            repeats += 1
            wrong += processes.send_to(stranger.pid, start, signal.SIGKILL)
            wrong += stranger.poll() is not None
            wrong += not processes.send_to(stranger.pid, processes.start_time(stranger.pid), signal.SIGKILL)
        stranger.kill()
        stranger.wait()
        if repeats == 20:
            break
    assert repeats >= 10, "too few pids came back"
    survived("12", "a pid that a stranger has got since", repeats=repeats, wrong=wrong)
