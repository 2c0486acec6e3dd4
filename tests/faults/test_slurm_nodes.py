"""Fault 30 on two nodes: stopped, paused, at the time limit. With srun and torchrun, over gloo: once in real training,
often with ranks that only keep step.

Each node has its own boot id, so that a rank of another node is as unknown as on another machine.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rank_jobs import make_run
from rig import Rig
from tiny_run import of, read_events
from waiting import TORCH_LIMIT_S, times, wait_until

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.protocol.messages.queue import Kill, Pause, Release, Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.runs import Failed, State, word
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import processes, ranks

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


NODES_JOB = str(Path(__file__).parents[1] / "rig" / "nodes_job.py")
OFTEN = pytest.mark.parametrize(
    ("two", "repeats"), [("training", 1), ("ranks", times(20, 1))], indirect=["two"]
)

TWICE = pytest.mark.parametrize(("two", "repeats"), [("ranks", 2)], indirect=["two"])


@pytest.fixture
def two(slurm_rig, tmp_path, tiny_model, request):
    """A rig whose runs are on two nodes without GPUs, so near their time limit that Slurm's signal means that."""
    slurm_rig.settings = "settings: 1\nslurm: {time: '5'}\nretry: {times: 0}\nresume: {after_crash: false}\n"
    job = {"FINETOP_TEST_NODES_JOB": NODES_JOB} if request.param == "ranks" else {}
    slurm_rig.up(FINETOP_TEST_WARNING_S="5", **ENVIRONMENT, **job)
    train = {"max_steps": 100_000, "save_every": 100_000, "keep_checkpoints": None}
    check = {"general": {"suite": "quick"}}
    rig = make_run(
        tmp_path / "data", tiny_model, "long", train=train, check=check, budget={"nodes": 2, "gpus": 0}
    )
    slurm_rig.recipe = resolve_text((rig / "recipe.json").read_text())
    return slurm_rig


def submit(rig, name: str) -> str:
    return str(rig.ask(Submit(rig.recipe.resolved, rig.recipe.text, name)).name)


def wait_trains(rig, cluster, name: str, moments: random.Random) -> dict[int, ranks.RankRecord]:
    """Wait until a run has taken some more steps, possibly in the middle of one. Return the ranks' records."""
    first = rig.ask(GetRun(name)).row.step + 3

    def has_moved() -> bool:
        row = rig.ask(GetRun(name)).row
        assert word(row.state) in ("queued", "running"), rig.about(name)
        return row.step >= first

    wait_until(has_moved, lambda: f"{rig.about(name)}; {cluster.log()}", TORCH_LIMIT_S)
    time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
    words = ranks.read(rig.job_folder(name))
    if len({record.boot for record in words.values()}) != 2:
        pytest.skip("needs mount namespaces: the nodes have one boot id here")
    return words


def job_of(cluster, name: str) -> str:
    """Return the Slurm id of a run that is running there."""
    return next(
        job for job, state, comment in cluster.jobs() if f"-{name} attempt" in comment and state == "RUNNING"
    )


def outcome(rig, names: list[str]) -> Counter[str]:
    """Count what runs reported, lost and reported twice; steps that no checkpoint holds are lost."""
    counts: Counter[str] = Counter()
    for name in names:
        detail = rig.ask(GetRun(name))
        run = rig.home.root / detail.folder
        jobs = [run / job.folder for job in detail.jobs if (run / job.folder / "events.jsonl").exists()]
        happened = [event for job in jobs for event in read_events(job)]
        steps = [event.step for event in of(events.Metrics, happened) if "loss" in event.values]
        saved = [checkpoint.step_of(folder) for folder in checkpoint.complete(run)]
        ends = [event for event in of(events.Ended, happened) if event.status == "stopped"]
        counts["written"] += len(steps)
        counts["doubled"] += len(steps) - len(set(steps))
        counts["lost"] += max(steps) - max(saved, default=0) + len(set(range(1, max(steps))) - set(steps))
        counts["checkpoints"] += len(saved)
        counts["stops"] += len(ends)
        counts["resumed"] += len(of(events.Resumed, happened))
        counts["unfit"] += sum(not checkpoint.is_resumable(folder) for folder in checkpoint.complete(run))
    return counts


def of_steps(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in ("written", "lost", "doubled")}


def end_of(rig, name: str):
    """Wait for the end of a run, and return its row."""
    return rig.wait_state(name, "stopped", "failed", "finished", "lost", limit_s=TORCH_LIMIT_S)


def alive(words: dict[int, ranks.RankRecord]) -> int:
    return sum(
        processes.alive(record.pid) and processes.start_time(record.pid) == record.start
        for record in words.values()
    )


@OFTEN
def test_a_stop_saves_one_checkpoint_and_ends_both_nodes(two, cluster, survived, repeats):
    moments, names, wrong = random.Random(30), [f"stopped-{n}" for n in range(repeats)], 0
    for name in names:
        submit(two, name)
        words = wait_trains(two, cluster, name, moments)
        two.ask(Stop(name))
        state = end_of(two, name).state
        wrong += getattr(state, "how", "") != "stop"
        wrong += alive(words)
    counts = outcome(two, names)
    wrong += counts["checkpoints"] != repeats or counts["stops"] != repeats or counts["unfit"]
    survived("30", f"stop of a run on two nodes; checkpoints {counts['checkpoints']}", repeats=repeats,
             **of_steps(counts), wrong=wrong, orphans=len(two.orphans()))  # fmt: skip


def stopped_at_last(
    rig, cluster, name: str, moments: random.Random, resumed: int
) -> tuple[Counter[str], bool]:
    """Stop a run that was interrupted so often; count, and return whether it did not resume each time."""
    wait_trains(rig, cluster, name, moments)
    rig.ask(Stop(name))
    end_of(rig, name)
    counts = outcome(rig, [name])
    is_wrong = (counts["checkpoints"], counts["resumed"], counts["unfit"]) != (resumed + 1, resumed, 0)
    return counts, is_wrong


@OFTEN
def test_a_pause_saves_one_checkpoint_and_the_run_goes_on_from_it(two, cluster, survived, repeats):
    moments, wrong = random.Random(31), 0
    name = submit(two, "paused")
    for _ in range(repeats):
        words = wait_trains(two, cluster, name, moments)
        two.ask(Pause(name))
        state = two.wait_state(name, "queued", "stopped", "failed", "lost", limit_s=TORCH_LIMIT_S).state
        wrong += not getattr(state, "held", False)
        wrong += alive(words)
        two.ask(Release(name))
    counts, resumed_wrongly = stopped_at_last(two, cluster, name, moments, repeats)
    wrong += resumed_wrongly
    survived("30", f"pause of a run on two nodes; checkpoints {counts['checkpoints']}, resumed {counts['resumed']}",
             repeats=repeats, **of_steps(counts), wrong=wrong, orphans=len(two.orphans()))  # fmt: skip


def times_queued_again(rig, name: str) -> int:
    """Count how often a run's job has queued itself in Slurm again, by its own log."""
    return (rig.job_folder(name) / "slurm.txt").read_text().count("is queued again")


@OFTEN
def test_near_its_time_limit_a_run_on_two_nodes_saves_and_queues_itself_again(
    two, cluster, survived, repeats
):
    moments, wrong = random.Random(32), 0
    name = submit(two, "victim")
    for number in range(1, repeats + 1):
        wait_trains(two, cluster, name, moments)
        cluster.call("scancel", "--signal=TERM", "--batch", job_of(cluster, name))  # as Slurm itself does
        wait_until(lambda: times_queued_again(two, name) == number, partial(two.about, name), TORCH_LIMIT_S)  # noqa: B023
    counts, resumed_wrongly = stopped_at_last(two, cluster, name, moments, repeats)
    again = times_queued_again(two, name)
    wrong += resumed_wrongly
    wrong += again != repeats or len(two.ask(GetRun(name)).jobs) != 1
    survived("30", f"the time limit of a run on two nodes; checkpoints {counts['checkpoints']}, queued again {again}",
             repeats=repeats, **of_steps(counts), wrong=wrong, orphans=len(two.orphans()))  # fmt: skip


@TWICE
def test_a_stop_while_both_nodes_start_is_heard_once_a_rank_is_there(two, cluster, survived, repeats):
    names, wrong = [f"early-{n}" for n in range(repeats)], 0
    for name in names:
        submit(two, name)
        wait_until((two.job_folder(name) / "keeper.json").exists, cluster.log)
        two.ask(Stop(name))
        state = end_of(two, name).state
        wrong += (getattr(state, "how", ""), getattr(state, "cause", "")) != ("stop", "asked to stop")
        wrong += alive(ranks.read(two.job_folder(name)))
    survived("30", "stop of a run on two nodes that has just begun", repeats=repeats, wrong=wrong,
             orphans=len(two.orphans()))  # fmt: skip


# What ends a run -> its fault, how it is done (with the process of one rank), and whether the state is that end.
ENDS: dict[str, tuple[str, Callable[[Rig, str, int], object], Callable[[State, int], bool]]] = {
    "kill of a run": (
        "30", lambda rig, name, pid: rig.ask(Kill(name)), lambda state, rank: getattr(state, "how", "") == "kill"
    ),
    "kill -9 of srun": (
        "30", lambda rig, name, pid: os.kill(rig.keeper(name)["job_pid"], signal.SIGKILL),
        lambda state, rank: isinstance(state, Failed),
    ),
    "kill -9 of a rank": (
        "32", lambda rig, name, pid: os.kill(pid, signal.SIGKILL),
        lambda state, rank: getattr(state, "cause", "") == f"rank {rank}: killed by signal 9",
    ),
}  # fmt: skip


@TWICE
@pytest.mark.parametrize("what", ENDS)
def test_nothing_is_left_on_either_node_when_the_end_is_said(two, cluster, survived, repeats, what):
    """A rank that is killed is named, whichever node it is on."""
    fault, end, is_right = ENDS[what]
    moments, names, wrong = random.Random(33), [f"ends-{n}" for n in range(repeats)], 0
    for number, name in enumerate(names):
        submit(two, name)
        words = wait_trains(two, cluster, name, moments)
        rank = (number + 1) % 2
        end(two, name, words[rank].pid)
        wrong += not is_right(end_of(two, name).state, rank)
        wrong += alive(words)
    survived(fault, f"{what} on two nodes", repeats=repeats, wrong=wrong, orphans=len(two.orphans()))


@TWICE
def test_a_run_on_two_nodes_that_is_preempted_goes_on_in_the_same_job(two, cluster, survived, repeats):
    """Slurm signals srun here too, which kills all ranks: none of them writes an ended event."""
    moments, names, wrong = random.Random(36), [f"preempted-{n}" for n in range(repeats)], 0
    for name in names:
        submit(two, name)
        words = wait_trains(two, cluster, name, moments)
        cluster.call(
            "sbatch", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1",
        )  # fmt: skip
        two.wait_state(name, "queued", "stopped", "failed", "lost")
        wrong += alive(words)
        two.wait_state(name, "running", "stopped", "failed", "lost")
        wait_trains(two, cluster, name, moments)
        wrong += len(two.ask(GetRun(name)).jobs) != 1
        two.ask(Stop(name))
        end_of(two, name)
    what = "preemption of a run on two nodes"
    survived("30", what, repeats=repeats, wrong=wrong, orphans=len(two.orphans()))
