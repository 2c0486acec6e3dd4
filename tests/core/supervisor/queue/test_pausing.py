"""Pause, resume and retries with real processes: the supervisor dies in between, no step is lost or doubled."""

import contextlib

import pytest
from rig import ALONE
from waiting import LIMIT_S

from finetop.core.errors import NoSupervisor
from finetop.core.protocol.messages.queue import Pause, Release, Stop
from finetop.core.protocol.messages.runs import GetRun, Sql
from finetop.core.protocol.messages.submit import Resume
from finetop.core.protocol.runs import Queued, word

POINTS = ("", "pause-asked", "end-noticed", "end-settled")


def told(rig, name):
    """The steps in the store and how often each occurs; and those that the jobs wrote to side files, by job."""
    query = "SELECT step, count(*) FROM metrics WHERE key = 'loss' GROUP BY step ORDER BY step"
    rows = rig.ask(Sql(query, 100_000)).rows
    folder = rig.home.root / rig.ask(GetRun(name)).folder
    sides = [[*map(int, file.read_text().split())] for file in sorted(folder.glob("jobs/*/side.txt"))]
    return [step for step, _ in rows], {count for _, count in rows}, sides


@pytest.mark.slow
def test_paused_and_resumed_while_the_supervisor_dies_no_step_is_lost_or_doubled(cold_rig):
    process = cold_rig.up()
    name = cold_rig.submit(steps=100_000, pause_s=0.01)
    at = 0
    for point in POINTS:
        step = at
        cold_rig.wait_row(name, lambda row, step=step: word(row.state) == "running" and row.step > step + 5)
        if point:
            process = cold_rig.restart(FINETOP_ABORT_AT=point)
        with contextlib.suppress(NoSupervisor):
            cold_rig.ask(Pause(name))
        if point:
            assert process.wait(LIMIT_S) == 99
            process = cold_rig.up()
        state = cold_rig.wait_row(name, lambda row: isinstance(row.state, Queued)).state
        assert (state.held, state.because) == (True, f"paused at step {state.paused_at}")
        assert state.paused_at > at
        at = state.paused_at
        cold_rig.ask(Resume(name) if point else Release(name))
    cold_rig.wait_row(name, lambda row: row.step > at + 5)
    cold_rig.ask(Stop(name))
    last = cold_rig.wait_state(name, "stopped").step
    steps, counts, sides = told(cold_rig, name)
    assert (steps, counts) == (list(range(1, last + 1)), {1})
    assert [step for side in sides for step in side] == steps, "no job did a step of another's again"
    assert [job.attempt for job in cold_rig.ask(GetRun(name)).jobs] == [1] * 5


@pytest.mark.slow
def test_a_killed_run_goes_on_by_itself_and_a_check_that_is_paused_too(cold_rig):
    tried = ALONE.replace("times: 0", "times: 2, wait_s: 0.2")
    cold_rig.settings = tried.replace("after_crash: false", "after_crash: true")
    cold_rig.up()
    ends = {"ends": ["die", "die"], "until": 6}
    name = cold_rig.submit(steps=9, saved=[2, 4, 8], check=True, holds=["check"], **ends)
    cold_rig.wait_state(name, "finished")
    steps, counts, sides = told(cold_rig, name)
    assert (steps, counts) == (list(range(1, 10)), {1})
    assert sides == [[1, 2, 3, 4, 5, 6], [5, 6], [5, 6, 7, 8, 9]]
    cold_rig.wait_row(name, lambda row: row.checking is not None and word(row.checking) == "running")
    cold_rig.ask(Pause(name))
    row = cold_rig.wait_row(name, lambda row: isinstance(row.checking, Queued))
    assert (row.checking.held, row.checking.because, word(row.state)) == (True, "held", "finished")
    cold_rig.let_go(name, "check")
    cold_rig.ask(Release(name))
    assert cold_rig.wait_row(name, lambda row: row.check is not None).check.step == 8
