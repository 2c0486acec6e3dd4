"""Fault 8: the clock is set a day ahead or back during a run: nothing is out of order, hung, lost, or a day long."""

import random
import time

import pytest
import shim
from rig import counted
from waiting import LIMIT_S, times, wait_until

from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import EventsSince, GetRun

DAY_S = 86_400


@pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "all is here")
@pytest.mark.parametrize("jumps", [times(30, 4)])
def test_a_clock_that_is_set_changes_no_order_and_no_length(
    cold_rig, tmp_path, monkeypatch, terminal_of, survived, jumps
):
    library = shim.shim(tmp_path)
    for key, value in library.environment.items():  # the app's clock is the same
        monkeypatch.setenv(key, value)
    moments, wrong = random.Random(8), []
    cold_rig.up()
    began = time.monotonic()
    name = cold_rig.submit("lives", steps=100_000, pause_s=0.01)
    cold_rig.submit("waits", steps=5)
    cold_rig.wait_state(name, "running")
    app = terminal_of(cold_rig.home.root)
    app.wait_text("lives")
    for jump in range(jumps):
        library.set(shift_s=DAY_S * (1, -1, 0)[jump % 3] + moments.uniform(-3600, 3600))
        if jump % 5 == 2:
            cold_rig.restart()
        step = cold_rig.ask(GetRun(name)).row.step
        wait_until(lambda: cold_rig.ask(GetRun(name)).row.step > step + 30, "it goes on")  # noqa: B023
        wait_until(lambda: app.pump(0.3) or "NO SUP" not in app.text(), "the app is connected again")
        row = cold_rig.ask(GetRun(name)).row
        wrong += [f"{jump}: {row.state}"] if data.word(row.state) != "running" or row.state.pulse else []
        wrong += [f"{jump}: {app.text()}"] if "lives" not in app.text() else []
    asked = time.monotonic()
    cold_rig.ask(Stop(name))
    ended = cold_rig.wait_state(name, "stopped").state
    ran = time.monotonic() - began
    after = cold_rig.wait_state("waits", "finished").state
    since_asked = time.monotonic() - asked
    wrong += (
        [f"{name} ran for {ended.ended - ended.since}"] if not 0 < ended.ended - ended.since < ran else []
    )
    took = after.ended - after.since
    wrong += [f"waits ran for {took}"] if not 0 <= took < since_asked else []
    reported, side = cold_rig.told_and_written(name)
    order = [row.step for row in cold_rig.ask(EventsSince(name, -1, 10_000)).steps]
    wrong += ["out of order"] if order != side[: len(order)] else []
    wrong += ["started twice"] if cold_rig.ask(GetRun(name)).jobs[0].attempt != 1 else []
    print(*wrong, sep="\n")
    survived("8", "the clock is set a day on or back", repeats=jumps, **counted(reported, side), wrong=len(wrong),
             orphans=len(cold_rig.orphans()))  # fmt: skip


def test_a_clock_that_goes_back_delays_no_start(cold_rig, tmp_path):
    """A job whose keeper never came to life is started again after seconds by any clock."""
    if shim.missing():
        pytest.skip(shim.missing())
    library = shim.shim(tmp_path)
    library.environment["FINETOP_TEST_GRACE_S"] = "5"  # a late keeper exits
    dying = cold_rig.up(FINETOP_ABORT_AT="supervisor-claimed", **library.environment)
    name = cold_rig.submit_to_dying(steps=3)
    dying.wait(LIMIT_S)
    library.set(shift_s=-DAY_S)
    cold_rig.up(**library.environment)
    assert cold_rig.wait_state(name, "finished").step == 3
