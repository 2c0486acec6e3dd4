"""Faults 30 and 32 on one machine: one of two ranks is killed, or asked to stop; real training, gloo on the CPU."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from drawn import drawn
from rank_jobs import make_run
from tiny_run import of, read_events
from waiting import TORCH_LIMIT_S, times, wait_until

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import processes, ranks

JOB = str(Path(__file__).parents[1] / "rig" / "ranked_job.py")
ENVIRONMENT = {
    "FINETOP_TEST_JOB": JOB, "FINETOP_CPU_RANKS": "2", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
ENVIRONMENT |= {"CUDA_VISIBLE_DEVICES": ""}

OVER = ("failed", "stopped", "finished", "lost")


@pytest.fixture
def two(cold_rig, tmp_path, tiny_model):
    """A rig whose training runs in two ranks, and a recipe of many steps for it."""
    cold_rig.up(**ENVIRONMENT)
    check = {"general": {"suite": "quick"}}
    rig = make_run(
        tmp_path / "data", tiny_model, "long", train={"max_steps": 100_000, "save_every": 100_000}, check=check,
        drift={"every": None},  # else the first steps come after a measurement of minutes, on a busy machine
    )  # fmt: skip
    cold_rig.recipe = resolve_text((rig / "recipe.json").read_text())
    return cold_rig


def begun(rig, name):
    """Queue a run, and wait until both ranks train. Return its name and the ranks' records."""
    name = str(rig.ask(Submit(rig.recipe.resolved, rig.recipe.text, name)).name)
    wait_until(lambda: rig.ask(GetRun(name)).row.step >= 3, lambda: rig.about(name), TORCH_LIMIT_S)
    words = ranks.read(rig.job_folder(name))
    assert sorted(words) == [0, 1]
    return name, words


def alive(words) -> bool:
    return any(processes.alive(record.pid) for record in words.values())


def ends_of(rig, name) -> list[events.Ended]:
    return of(events.Ended, read_events(rig.job_folder(name)))


@pytest.mark.parametrize("repeats", [times(20, 1)])
def test_a_rank_that_is_killed_ends_the_run_and_is_named(two, survived, repeats):
    moments = random.Random(32)
    wrong = doubled = 0
    for number in range(repeats):
        name, words = begun(two, f"killed-{number}")
        rank = (number + 1) % 2
        time.sleep(moments.uniform(0.0, 0.3))  # at any moment of training
        os.kill(words[rank].pid, signal.SIGKILL)
        row = two.wait_state(name, *OVER)
        wrong += (row.state.kind, row.state.cause) != ("killed", f"rank {rank}: killed by signal 9")
        wrong += len(two.ask(GetRun(name)).jobs) != 1
        wrong += alive(words)
        doubled += len(ends_of(two, name)) > 1
    survived("32", "kill -9 of one of two ranks in training", repeats=repeats, doubled=doubled, wrong=wrong,
             orphans=len(two.orphans()))  # fmt: skip


def impatient(rig):
    """Let a job count as hung after a few seconds of silence."""
    (rig.home.root / "settings.yaml").write_text(f"{rig.settings}hung: {{after_s: 4, then: tell}}\n")


@pytest.mark.parametrize("rank", drawn([0, 1], 1))
def test_a_rank_that_stands_still_ends_the_run_and_is_named(two, survived, rank):
    name, words = begun(two, f"still-{rank}")
    os.kill(words[rank].pid, signal.SIGSTOP)
    impatient(two)
    row = two.wait_state(name, *OVER)
    pid, host = words[rank].pid, words[rank].host
    wrong = row.state.kind != "hung"
    wrong += not row.state.cause.startswith(f"hung: rank {rank} (pid {pid} on {host}) has not finished step ")
    wrong += not row.state.cause.endswith("; the others wait")
    wrong += not row.state.hint.startswith(f"rank {rank} is stopped by a signal, and was last in ")
    wrong += alive(words)
    assert not wrong, (row.state.cause, row.state.hint, words[rank], row.state.kind)
    survived("32", f"SIGSTOP of rank {rank} of two in training", wrong=wrong, orphans=len(two.orphans()))


def test_a_rank_that_never_comes_to_the_first_step_ends_the_run_and_is_named(two, survived):
    name = str(two.ask(Submit(two.recipe.resolved, two.recipe.text, "early")).name)
    wait_until(lambda: 1 in ranks.read(two.job_folder(name)), lambda: two.about(name), TORCH_LIMIT_S)
    words = ranks.read(two.job_folder(name))[1]
    os.kill(words.pid, signal.SIGSTOP)
    impatient(two)
    row = two.wait_state(name, *OVER)
    wrong = not row.state.cause.startswith(
        f"hung: rank 1 (pid {words.pid} on {words.host}) has not finished "
    )
    wrong += processes.alive(words.pid)
    survived("32", "SIGSTOP of rank 1 of two before its first step", wrong=wrong, orphans=len(two.orphans()))


def test_where_the_launcher_is_killed_no_rank_is_blamed(two, survived):
    name, words = begun(two, "launcher")
    keeper = two.keeper(name)
    os.kill(keeper["job_pid"], signal.SIGKILL)
    row = two.wait_state(name, *OVER)
    wrong = row.state.cause != "the launcher of the ranks (torchrun or srun) was killed by signal 9"
    wrong += alive(words)
    survived("32", "kill -9 of torchrun", wrong=wrong, orphans=len(two.orphans()))


@pytest.mark.parametrize("rank", drawn([0, 1], 1))
def test_sigterm_to_either_rank_saves_a_checkpoint_and_ends_both(two, survived, rank):
    name, words = begun(two, f"asked-{rank}")
    os.kill(words[rank].pid, signal.SIGTERM)
    row = two.wait_state(name, *OVER)
    (saved,) = checkpoint.complete(two.job_folder(name).parent.parent)
    wrong = row.state.cause != "ended by signal 15 from outside, and saved"
    wrong += checkpoint.step_of(saved) != two.ask(GetRun(name)).row.step
    wrong += not checkpoint.is_resumable(saved)
    wrong += [ended.status for ended in ends_of(two, name)] != ["stopped"]
    survived("30", f"SIGTERM to rank {rank} of two", wrong=wrong, orphans=len(two.orphans()))


def test_a_stop_that_is_asked_for_stops_all_ranks_with_one_checkpoint(two, survived):
    name, _ = begun(two, "stopped")
    two.ask(Stop(name))
    row = two.wait_state(name, "stopped", "failed")
    wrong = len(checkpoint.complete(two.job_folder(name).parent.parent)) != 1
    wrong += row.state.how != "stop"
    survived("30", "stop of a run of two ranks", wrong=wrong, orphans=len(two.orphans()))
