"""Faults 27 and 29: Slurm's controller killed in mid-submit, sbatch's answer lost, the supervisor killed as well."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from rig import counted
from waiting import LIMIT_S, times, wait_until

from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import word
from finetop.core.runtime.crash_points import DIED, SWITCH

PER_REPEAT = 3  # runs
HEARD_S = 40.0
SAVED_S = 6.0


def counts(rig, names: list[str]) -> dict[str, int]:
    """Count what was written, lost, doubled and wrongly marked of runs that should have finished on their first try."""
    total: Counter[str] = Counter()
    for name in names:
        row = rig.wait_state(name, "finished", "failed", "lost", "stopped")
        reported, side = rig.told_and_written(name)
        total.update(counted(reported, side))
        total["lost"] += not side
        total["doubled"] += len(side) - len(set(side))  # a second start writes its steps again
        total["wrong"] += row.state.__class__.__name__ != "Finished" or row.step != len(set(side))
    return {**total, "orphans": len(rig.orphans())}


def wait_ended(rig, cluster, names) -> None:
    """Wait for runs. A controller that had not saved a start repeats it; the node refuses, and is drained."""

    asked = time.monotonic()

    def ended() -> bool:
        nonlocal asked
        cluster.open_nodes()
        # otherwise it learns only after minutes which jobs its nodes no longer run
        if time.monotonic() - asked > HEARD_S:
            cluster.call("scontrol", "reconfigure")
            asked = time.monotonic()
        return all(word(rig.ask(GetRun(name)).row.state) in ("finished", "failed", "lost") for name in names)

    wait_until(ended, lambda: rig.about(names[-1]))


def let_save(cluster) -> None:
    """Let the controller save its jobs, as it does within seconds of a change; otherwise it reuses their ids."""
    state, since, end = cluster.root / "state" / "job_state", time.time() - 1.0, time.monotonic() + SAVED_S
    while time.monotonic() < end and not (state.exists() and state.stat().st_mtime > since):
        time.sleep(0.1)  # between two looks


@pytest.mark.parametrize("repeats", [times(50, 2)])
def test_the_controller_killed_in_mid_submit_starts_nothing_twice_and_loses_nothing(
    slurm_rig, cluster, survived, repeats
):
    slurm_rig.up(FINETOP_TEST_SLURM_LIMIT_S="3", FINETOP_TEST_GRACE_S="2")
    # A controller that never saved anything starts at job 1 again, beside the job 1 that a node still runs.
    slurm_rig.wait_state(slurm_rig.submit("first", steps=1), "finished")
    moments, names = random.Random(7), []
    for repeat in range(repeats):
        let_save(cluster)
        names += [slurm_rig.submit(f"run-{repeat}-{n}", steps=8, pause_s=0.05) for n in range(PER_REPEAT)]
        time.sleep(moments.uniform(0.0, 2.0))  # at any moment of submitting
        cluster.kill_controller()
        time.sleep(moments.uniform(0.0, 1.0))  # as long as it is away
        cluster.start_controller()
        wait_ended(slurm_rig, cluster, names[-PER_REPEAT:])
    what = "Slurm's controller killed in mid-submit"
    survived("27", what, repeats=repeats, **counts(slurm_rig, names))


LOST = {
    "it says that it failed": "exit 1",
    "it says nothing": "exit 0",
    "it says something else": "echo maintenance on Friday",
    "it hangs": "sleep 60",
}


@pytest.mark.parametrize("how", LOST)
def test_an_answer_of_sbatch_that_was_lost_makes_no_second_job(slurm_rig, cluster, survived, tmp_path, how):
    real = os.environ.get("PATH", "")
    wrapper = tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    once = tmp_path / "lost"
    # it loses one answer in two
    wrapper.write_text(
        f"#!/bin/sh\nif mkdir {once} 2>/dev/null; then PATH={real!r} sbatch \"$@\" >/dev/null; {LOST[how]};\n"
        f"else rmdir {once}; PATH={real!r} exec sbatch \"$@\"; fi\n"
    )  # fmt: skip
    wrapper.chmod(0o755)
    slurm_rig.up(PATH=f"{wrapper.parent}:{real}", FINETOP_TEST_SLURM_LIMIT_S="3")
    before = len(cluster.jobs())
    names = [slurm_rig.submit(f"run-{n}", steps=8) for n in range(4)]
    totals = counts(slurm_rig, names)
    totals["doubled"] += abs(len(cluster.jobs()) - before - len(names))
    survived("29", f"sbatch's answer lost: {how}", repeats=2, **totals)


@pytest.mark.parametrize("place", ["slurm-claimed", "slurm-recorded", "slurm-answered"])
def test_the_supervisor_killed_beside_sbatch_starts_it_once(slurm_rig, survived, place):
    dying = slurm_rig.up(**{SWITCH: place})
    name = slurm_rig.submit_to_dying("victim", steps=8)
    assert dying.wait(LIMIT_S) == DIED
    slurm_rig.up(FINETOP_TEST_GRACE_S="2")
    survived("27", f"kill -9 of the supervisor at {place}", **counts(slurm_rig, [name]))


def test_the_supervisor_killed_while_runs_wait_and_run_there_knows_them_all(slurm_rig, survived):
    slurm_rig.up()
    names = [slurm_rig.submit(f"run-{n}", steps=40, pause_s=0.05, budget={"gpus": 4}) for n in range(6)]
    for _ in range(3):
        wait_until(lambda: any(slurm_rig.ask(GetRun(name)).row.step for name in names), "one runs")
        slurm_rig.restart()
    survived("27", "kill -9 of the supervisor, runs in Slurm", repeats=3, **counts(slurm_rig, names))


def test_an_attempt_that_slurm_starts_twice_does_its_work_once(slurm_rig, cluster, survived):
    """The script of a job is submitted a second time, as after a controller's restart."""
    slurm_rig.up()
    name = slurm_rig.submit("twice", steps=30, pause_s=0.05)
    slurm_rig.wait_step(name)
    folder: Path = slurm_rig.job_folder(name)
    number = next(job for job, _, comment in cluster.jobs() if comment.split()[1] == folder.parents[1].name)
    script = cluster.call("scontrol", "write", "batch_script", number, "-")
    copy = folder / "again.sh"
    copy.write_text(script)
    assert cluster.call("sbatch", "--parsable", f"--output={folder}/again.txt", str(copy)) is not None
    said = folder / "again.txt"
    wait_until(lambda: said.exists() and "nothing to do" in said.read_text())
    survived("27", "a job that Slurm starts twice", **counts(slurm_rig, [name]))
