"""Fault 30: preempted, requeued, at the time limit, its node lost: saved, resumed, one curve."""

import os
import signal
from collections import Counter

import pytest
from rig import counted
from waiting import times, wait_until

from finetop.core.protocol.messages.queue import Queue, Stop
from finetop.core.protocol.messages.runs import GetRun


def start(rig, cluster, name: str, **plan: object) -> str:
    """Start a run that is long enough to be ended on the way; return its Slurm id once it trains."""
    rig.submit(name, **{"steps": 150, "pause_s": 0.05, **plan})
    rig.wait_step(name, 5)
    return next(
        job for job, state, comment in cluster.jobs() if f"-{name} attempt" in comment and state == "RUNNING"
    )


def one_curve(rig, survived, what: str, names: list[str], most_lost: int = 0, repeats: int = 1) -> None:
    """Check that runs finished with each step counted once; and how many lost steps they repeated."""
    total, again = Counter[str](), 0
    for name in names:
        row = rig.wait_state(name, "finished", "failed", "lost", "stopped")
        detail = rig.ask(GetRun(name))
        side = [int(n) for job in detail.jobs for n in side_of(rig, detail, job)]
        reported = rig.told_and_written(name)[0]
        total.update(counted(reported, side))
        is_whole = sorted(reported) == list(range(1, row.steps + 1))
        total["wrong"] += type(row.state).__name__ != "Finished" or not is_whole
        again += len(side) - len(set(side))
    total["wrong"] += again > most_lost
    survived("30", f"{what}; steps lost {again}", repeats=repeats, **total, orphans=len(rig.orphans()))


def side_of(rig, detail, job) -> list[str]:
    file = rig.home.root / detail.folder / job.folder / "side.txt"
    return file.read_text().split() if file.exists() else []


@pytest.fixture
def live(slurm_rig):
    slurm_rig.up()
    return slurm_rig


def preempt(cluster, number: str) -> None:
    urgent = cluster.call(
        "sbatch", "--parsable", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap",
        "sleep 1",
    )  # fmt: skip
    assert urgent is not None


def requeue(cluster, number: str) -> None:
    assert cluster.call("scontrol", "requeue", number) is not None


def warn(cluster, number: str) -> None:
    cluster.call("scancel", "--signal=TERM", "--batch", number)


WAYS = {  # what happens to a job -> how, and the log's words about it
    "preempted in Slurm": (preempt, ""),
    "requeued in Slurm": (requeue, ""),
    "the time limit is near": (warn, "is queued again"),
}


@pytest.mark.parametrize("repeats", [times(20, 1)])
@pytest.mark.parametrize("what", WAYS)
def test_a_job_that_is_interrupted_saves_and_goes_on_with_no_step_lost(
    slurm_rig, cluster, survived, repeats, what
):
    interrupt, words = WAYS[what]
    if interrupt is warn:
        slurm_rig.settings = (
            "settings: 1\nslurm: {time: '5'}\n"  # so little is left that the signal means that
        )
    slurm_rig.up(FINETOP_TEST_WARNING_S="5")
    names = [f"victim-{n}" for n in range(repeats)]
    for name in names:
        interrupt(
            cluster, start(slurm_rig, cluster, name, budget={"gpus": 4} if interrupt is preempt else {})
        )
        if interrupt is preempt:
            slurm_rig.wait_state(name, "queued", "finished")
        slurm_rig.wait_state(name, "finished", "failed", "lost")
        assert words in (slurm_rig.job_folder(name) / "slurm.txt").read_text()
    one_curve(slurm_rig, survived, what, names, repeats=repeats)


def test_a_job_that_reaches_its_time_limit_again_and_again_comes_to_its_end(slurm_rig, cluster, survived):
    slurm_rig.settings = "settings: 1\nslurm: {partition: debug, time: '1'}\n"
    slurm_rig.up(FINETOP_TEST_WARNING_S="30")
    start(slurm_rig, cluster, "victim", steps=400, pause_s=0.3)
    slurm_rig.wait_state("victim", "finished", "failed", "lost", limit_s=600.0)
    one_curve(slurm_rig, survived, "its time limit reached, in earnest", ["victim"])


@pytest.mark.parametrize("repeats", [times(20, 1)])
def test_a_job_whose_keeper_is_killed_loses_no_more_than_since_its_last_checkpoint(
    slurm_rig, cluster, survived, repeats
):
    """As by a node's kernel: no process is left to write an exit record."""
    slurm_rig.settings = "settings: 1\nslurm: {}\nretry: {wait_s: 0.1}\n"
    slurm_rig.up()
    names = [f"victim-{n}" for n in range(repeats)]
    for name in names:
        start(slurm_rig, cluster, name, saves_every=10)
        slurm_rig.wait_step(name, 25)
        keeper = slurm_rig.keeper(name)["pid"]
        os.kill(keeper, signal.SIGKILL)
        slurm_rig.wait_state(name, "finished", "failed", "stopped")
    # the kernel ends the job with its keeper: at most what it did since step 20, until then
    what = "its keeper killed on its node, a checkpoint each 10 steps"
    one_curve(slurm_rig, survived, what, names, most_lost=10 * repeats, repeats=repeats)


def test_a_job_that_somebody_cancels_there_is_stopped_and_stays_so(live, cluster, survived):
    number = start(live, cluster, "victim")
    cluster.call("scancel", number)
    state = live.wait_state("victim", "stopped", "finished", "failed", "lost").state
    assert (state.how, state.cause) == ("stop", "cancelled in Slurm")
    survived("30", "cancelled in Slurm by somebody", orphans=len(live.orphans()))


def test_stop_saves_first_and_is_the_end(live, cluster, survived):
    start(live, cluster, "victim")
    live.ask(Stop("victim"))
    row = live.wait_state("victim", "stopped")
    reported, side = live.told_and_written("victim")
    steps = [checkpoint.step for checkpoint in live.ask(GetRun("victim")).checkpoints]
    assert (row.state.how, steps[-1]) == ("stop", max(side))
    wait_until(lambda: not cluster.call("squeue", "-h"), "its job is over")
    survived("30", "stopped by finetop", **counted(reported, side), orphans=len(live.orphans()))


def test_a_sweep_is_an_array_with_a_limit_one_of_it_requeued(slurm_rig, cluster, survived):
    slurm_rig.settings = "settings: 1\nslurm: {at_once: 2}\n"
    slurm_rig.up()
    names = slurm_rig.submit_sweep("rates", 6, steps=60, pause_s=0.05)

    def tasks(*states: str) -> list[str]:
        return [job for job, state, comment in cluster.jobs() if "sweep rates" in comment and state in states]

    wait_until(lambda: len(tasks("RUNNING")) == 2, slurm_rig.home.log.read_text)
    assert len({task.partition("_")[0] for task in tasks("RUNNING", "PENDING")}) == 1, "one array"
    wait_until(
        lambda: any("slurm.at_once" in row.state.because for row in slurm_rig.ask(Queue()).rows), "a reason"
    )
    cluster.call("scontrol", "requeue", tasks("RUNNING")[0])
    for name in names:
        slurm_rig.wait_state(name, "finished", "failed", "lost")
    one_curve(slurm_rig, survived, "a sweep of 6 as an array, one requeued", names)
