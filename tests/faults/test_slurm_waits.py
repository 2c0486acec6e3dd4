"""Fault 28: Slurm out of reach, jobs held, nodes drained, an unmet dependency: the app stays responsive and says so."""

import time

import pytest
from waiting import wait_until

from finetop.core.errors import FinetopError
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.machine import Gpus
from finetop.core.protocol.messages.queue import Hold, Pause, Queue, Stop
from finetop.core.protocol.messages.runs import GetRun, Runs
from finetop.core.protocol.messages.session import Changes

ANSWER_S = 5.0  # a hundred times what an answer takes: a wait for Slurm takes 9


@pytest.fixture
def live(slurm_rig):
    slurm_rig.up()
    return slurm_rig


def number_of(cluster, name: str) -> str:
    """Return the Slurm id of a run's job."""
    return wait_until(
        lambda: next((job for job, _, comment in cluster.jobs() if f"-{name} attempt" in comment), ""),
        "it is in the queue",
    )


def wait_because(rig, name: str, words: str) -> data.Queued:
    """Wait until the queue shows why a run waits, and return its state."""

    def waits() -> data.Queued | None:
        rows = [row for row in rig.ask(Queue()).rows if row.run == name]
        return rows[0].state if rows and words in rows[0].state.because else None

    return wait_until(waits, lambda: f"{words!r}: {rig.ask(Queue()).rows}; {rig.about(name)}")


def test_a_controller_out_of_reach_leaves_all_lively_and_is_told_with_since_when(live, cluster, survived):
    running = live.submit("running", steps=2000, pause_s=0.02)
    live.wait_step(running)
    cluster.kill_controller()
    waiting = live.submit("waiting", steps=5)
    wait_because(live, waiting, "Slurm has not answered since ")
    before, slowest = live.ask(GetRun(running)).row.step, 0.0
    for _ in range(20):
        began = time.monotonic()
        live.ask(Queue())
        live.ask(Runs())
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < ANSWER_S
    live.wait_step(running, before + 1)  # running jobs are still followed
    wait_until(lambda: "Slurm has not answered since" in live.ask(Changes(0, 0.0)).trouble, "a banner")
    live.ask(Stop(running))  # through its folder: no controller is needed
    row = live.wait_state(running, "stopped")
    cluster.start_controller()
    live.wait_state(waiting, "finished")
    wait_until(lambda: not live.ask(Changes(0, 0.0)).trouble, "it is over")
    survived("28", "Slurm out of reach", wrong=row.state.how != "stop", orphans=len(live.orphans()))


def test_a_job_that_is_held_there_says_how_it_is_let_go(live, cluster, survived):
    blocker = cluster.call(
        "sbatch", "--parsable", "--nodes=4", "--exclusive", "--wrap", "sleep 600", "-o", "/dev/null"
    )
    name = live.submit("held", steps=5)
    number = number_of(cluster, name)
    cluster.call("scontrol", "uhold", number)  # as a user does; root's own hold is an administrator's
    state = wait_because(live, name, "JobHeldUser")
    row = live.ask(GetRun(name)).row
    assert state.because == f"waits for: JobHeldUser (held; to release: scontrol release {number})"
    assert (data.word(row.state), row.state.because) == ("queued", state.because)
    assert [run_row.name for run_row in live.ask(Runs(filter="state:queued")).rows] == [name]
    with pytest.raises(FinetopError, match="waits in Slurm's queue"):
        live.ask(Hold(name))
    cluster.call("scancel", blocker.strip())
    cluster.call("scontrol", "release", number)
    live.wait_state(name, "finished")
    survived("28", "held in Slurm")


def test_drained_nodes_are_told_with_their_reason(live, cluster, survived):
    cluster.call("scontrol", "update", "NodeName=n[1-4]", "State=DRAIN", "Reason=bad fan")
    name = live.submit("waits", steps=5)
    wait_until(lambda: wait_because(live, name, "waits for: ").because.count("(") == 1, "plain words")
    nodes = wait_until(
        lambda: (seen := live.ask(Gpus()).nodes) and all(node.reason for node in seen) and seen,
        "they are drained",
    )
    assert [(node.name, node.gpus, node.reason) for node in nodes] == [
        (f"n{n}", 4, "bad fan") for n in range(1, 5)
    ]
    cluster.call("scontrol", "update", "NodeName=n[1-4]", "State=RESUME")
    live.wait_state(name, "finished")
    survived("28", "drained nodes")


def test_a_dependency_that_is_never_met_is_told_and_the_run_can_be_stopped(live, cluster, survived):
    cluster.call("scontrol", "update", "NodeName=n[1-4]", "State=DRAIN", "Reason=test")
    name = live.submit("never", steps=5)
    number = number_of(cluster, name)
    failed = cluster.call("sbatch", "--parsable", "--wrap", "exit 1", "--hold").strip()
    cluster.call("scontrol", "update", f"JobId={number}", f"Dependency=afterok:{failed}")
    cluster.call("scancel", failed)
    state = wait_because(live, name, "DependencyNeverSatisfied")
    assert "stop it" in state.because
    live.ask(Stop(name))
    row = live.wait_state(name, "stopped")
    survived(
        "28", "a dependency that is never met", wrong=row.state.how != "stop", orphans=len(live.orphans())
    )


def test_a_run_that_waits_there_can_be_paused_and_goes_on(live, cluster, survived):
    cluster.call("scontrol", "update", "NodeName=n[1-4]", "State=DRAIN", "Reason=test")
    name = live.submit("patient", steps=5)
    number_of(cluster, name)
    live.ask(Pause(name))
    wait_until(
        lambda: (row := live.ask(GetRun(name)).row.state) and getattr(row, "held", False), "it is held here"
    )
    wait_until(lambda: not cluster.call("squeue", "-h"), "it has left Slurm's queue")
    survived("28", "paused while it waits in Slurm")


@pytest.mark.parametrize(
    ("slurm", "words", "hint"),
    [
        ("{partition: nowhere}", "nvalid partition", "slurm.partition"),
        ("{extra: ['--gres=gpu:99']}", "BadConstraints", "budget.gpus"),
        ("{extra: ['--constraint=unheard']}", "eature", "slurm"),
    ],
)
def test_what_slurm_refuses_fails_in_words_with_the_setting_to_change(
    slurm_rig, survived, slurm, words, hint
):
    slurm_rig.settings = f"settings: 1\nslurm: {slurm}\n"
    slurm_rig.up()
    name = slurm_rig.submit("refused", steps=5)
    state = slurm_rig.wait_state(name, "failed").state
    assert state.cause.startswith("Slurm ") and words in state.cause
    assert hint in state.hint
    survived("28", f"what Slurm refuses: {slurm}")


def test_a_time_that_the_partition_does_not_allow_is_told(slurm_rig, survived):
    slurm_rig.settings = "settings: 1\nslurm: {partition: debug, time: '3-00:00:00'}\n"
    slurm_rig.up()
    name = slurm_rig.submit("long", steps=5)
    state = wait_because(slurm_rig, name, "PartitionTimeLimit")
    assert state.because.endswith("(slurm.time is more than the partition allows)")
    slurm_rig.ask(Stop(name))
    slurm_rig.wait_state(name, "stopped")
    survived("28", "a time that the partition does not allow", orphans=len(slurm_rig.orphans()))
