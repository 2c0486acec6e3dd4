"""Fault 13: the machine restarts. Running jobs resume from their newest checkpoint, by policy; waiting ones wait on."""

import json
import os
import random
import signal

import pytest
from rig import ALONE, counted
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Hold, Move, Queue, Retry, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import Lost, Queued, word
from finetop.core.runtime.processes import alive, start_time

STEPS = 100_000


def reboot(rig):
    """End all live processes, as a restart does; the boot id in the keepers' records is no longer the machine's."""
    rig.kill()
    for record in rig.home.runs.glob("*/jobs/*/keeper.json"):
        facts = json.loads(record.read_text())
        if facts["boot"] != "before" and start_time(facts["pid"]) == facts["start"]:
            for pid in filter(alive, (facts["pid"], facts["job_pid"])):
                os.kill(pid, signal.SIGKILL)
        record.write_text(json.dumps({**facts, "boot": "before"}))
    rig.home.socket.unlink(missing_ok=True)
    rig.up()


def wait(rig, name, wanted):
    """Wait for a state of a run; return its details."""

    def detail_then():
        detail = rig.ask(GetRun(name))
        return detail if wanted(detail) else None

    return wait_until(detail_then, lambda: rig.about(name))


def side(rig, detail, job):
    """The steps in a job's own side file."""
    file = rig.home.root / detail.folder / job.folder / "side.txt"
    return [int(step) for step in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("restarts", [times(20, 4)])
def test_what_ran_goes_on_and_what_waited_waits(cold_rig, survived, restarts):
    moments = random.Random(13)
    cold_rig.settings = ALONE.replace("after_reboot: false", "after_reboot: true")
    cold_rig.up()
    name = cold_rig.submit("ran", steps=STEPS, pause_s=0.005, saves_every=3)
    cold_rig.wait_state(name, "running")  # else what is moved first is before it
    for waits in ("a", "b", "c"):
        cold_rig.submit(waits, steps=1)
    cold_rig.ask(Move("c", "first"))
    cold_rig.ask(Hold("b"))
    wrong = 0
    for number in range(restarts):
        more = moments.randrange(4, 30)
        wait(cold_rig, name, lambda found, more=more: len(side(cold_rig, found, found.jobs[-1])) >= more)
        reboot(cold_rig)
        queue = [row.run for row in cold_rig.ask(Queue()).rows]
        wrong += [run for run in queue if run != name] != ["c", "a", "b"]
        going_on = number + 2  # jobs: until the supervisor has looked, the dead one still counts as running
        wait(
            cold_rig,
            name,
            lambda found, jobs=going_on: len(found.jobs) == jobs and word(found.jobs[-1].state) == "running",
        )
    wait(cold_rig, name, lambda found: len(side(cold_rig, found, found.jobs[-1])) > 4)
    cold_rig.ask(Stop(name))
    last = cold_rig.wait_state(name, "stopped").step
    detail = cold_rig.ask(GetRun(name))
    causes = [(word(job.state), getattr(job.state, "cause", "")) for job in detail.jobs[:-1]]
    wrong += causes != [("lost", "the machine restarted")] * restarts
    reported, _ = cold_rig.told_and_written(name)
    sides = [side(cold_rig, detail, job) for job in detail.jobs]
    for job, own, before in zip(detail.jobs[1:], sides[1:], sides, strict=False):
        assert own[0] == job.args["resume"]["step"] + 1 <= before[-1] + 1
        assert job.args["resume"]["step"] >= before[-1] - 6, "not from its newest checkpoint"
    survived("13", "the machine restarts", repeats=restarts, written=sum(map(len, sides)),
             lost=len(set(range(1, last + 1)) - set(reported)), doubled=len(reported) - len(set(reported)),
             wrong=wrong)  # fmt: skip


def test_without_the_setting_it_is_lost_and_says_so(rig, survived):
    name = rig.submit("ran", steps=STEPS, pause_s=0.005, saved=[3])
    waits = rig.submit("waits", steps=1)
    wait(rig, name, lambda found: found.row.step > 5)
    rig.ask(Hold())
    reboot(rig)
    row = wait(rig, name, lambda found: isinstance(found.row.state, Lost)).row
    assert (row.state.cause, row.needs_you) == ("the machine restarted", True)
    state = rig.ask(GetRun(waits)).row.state
    reported, written = rig.told_and_written(name)
    survived("13", "the same, resume.after_reboot off", **counted(reported, written),
             wrong=not isinstance(state, Queued))  # fmt: skip
    assert rig.ask(Retry(name)).step == 3


def test_what_was_asked_to_stop_does_not_go_on_by_itself(cold_rig, survived):
    cold_rig.settings = ALONE.replace("after_reboot: false", "after_reboot: true")
    process = cold_rig.up()
    name = cold_rig.submit("ran", steps=STEPS, pause_s=0.005, saves_every=3)
    wait(cold_rig, name, lambda found: found.row.step > 5)
    keeper = cold_rig.keeper(name)
    os.kill(keeper["pid"], signal.SIGSTOP)  # it gets no request before the machine goes down
    cold_rig.ask(Stop(name))
    assert process.poll() is None
    reboot(cold_rig)
    wait(cold_rig, name, lambda found: isinstance(found.row.state, Lost))
    other = cold_rig.submit("other", steps=1)
    cold_rig.wait_state(other, "finished")
    detail = cold_rig.ask(GetRun(name))
    survived("13", "asked to stop before it restarts", wrong=len(detail.jobs) != 1)
