"""Fault 34: everything that a job has started is gone after any ending: workers, sessions, daemons, bombs."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from waiting import times, wait_until

from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun

PROGRAM = str(Path(__file__).with_name("brood.py"))
BOMB = 150


def killed_while_stopped(rig, name: str, process: str) -> None:
    os.kill(rig.keeper(name)[process], signal.SIGSTOP)
    rig.ask(Kill(name))


def keeper_killed(rig, name: str) -> None:
    os.kill(rig.keeper(name)["pid"], signal.SIGKILL)


def keeper_killed_without_a_supervisor(rig, name: str) -> None:
    keeper = rig.keeper(name)["pid"]
    rig.kill()
    os.kill(keeper, signal.SIGKILL)
    assert len(rig.descendants()) > 5, "what is in sessions of its own outlives the keeper"
    rig.up(FINETOP_TEST_JOB=PROGRAM)


CASES = [
    ("killed", "wait", lambda rig, name: rig.ask(Kill(name)), ("stopped", "kill")),
    ("killed while stopped by a signal", "wait", partial(killed_while_stopped, process="job_pid"), ("stopped", "kill")),
    ("killed, its keeper stopped", "wait", partial(killed_while_stopped, process="pid"), ("stopped", "kill")),
    ("finished", "end", lambda rig, name: None, ("finished", "")),
    ("crashed", "crash", lambda rig, name: None, ("failed", "killed by signal 9")),
    ("its keeper killed", "wait", keeper_killed, ("lost", "vanished")),
    ("its keeper killed, no supervisor", "wait", keeper_killed_without_a_supervisor, ("lost", "vanished")),
]  # fmt: skip


@pytest.mark.parametrize("repeats", [times(20, 2)])
def test_nothing_is_left_of_a_job_however_it_ends(cold_rig, survived, repeats):
    cold_rig.up(FINETOP_TEST_JOB=PROGRAM)
    for what, then, end, (word, how) in CASES:
        wrong = orphans = 0
        for _ in range(repeats):
            name = cold_rig.submit(then=then, bomb=BOMB)
            wait_until(lambda: cold_rig.ask(GetRun(name)).row.step, "it has begun")  # noqa: B023
            end(cold_rig, name)
            state = cold_rig.wait_state(name, "stopped", "finished", "failed", "lost").state
            ending = getattr(state, "how", "") or getattr(state, "kind", "") or getattr(state, "cause", "")
            wrong += data.word(state) != word or how not in (ending, getattr(state, "cause", ""))
            orphans += len(cold_rig.orphans())
        survived("34", f"children, sessions, a bomb: {what}", repeats=repeats, wrong=wrong, orphans=orphans)


def test_a_large_bomb_is_put_out(cold_rig, survived):
    cold_rig.up(FINETOP_TEST_JOB=PROGRAM)
    for _ in range(3):
        name = cold_rig.submit(then="wait", bomb=3000)
        wait_until(lambda: cold_rig.ask(GetRun(name)).row.step, "it has begun")  # noqa: B023
        cold_rig.ask(Kill(name))
        assert cold_rig.wait_state(name, "stopped").state.how == "kill"
    survived("34", "3,000 generations of children", repeats=3, orphans=len(cold_rig.orphans()))
