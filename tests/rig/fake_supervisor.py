"""The real supervisor, whose jobs run fake_job.py instead of the trainer, on the GPUs of FINETOP_TEST_NVML.

FINETOP_TEST_NODES_JOB: a program that runs instead of the trainer in the ranks of several nodes.
FINETOP_TEST_CHAT_NOTICE_S: how long before a chat makes room it says so. FINETOP_TEST_HOST: the machine's host name.
FINETOP_TEST_TORCH: "real" judges the installed torch; else it fits the GPUs.
FINETOP_TEST_GRACE_S: how long a keeper may take to start, FINETOP_TEST_KILL_S: how long to kill its job,
FINETOP_TEST_NO_ANSWER_S: how long a GPU query may take until the driver counts as not answering; the defaults
are so long that no busy machine reaches them.
"""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from finetop.core.features.chat import supervision as chats
from finetop.core.runtime import gpus, ranks, torch_fits
from finetop.core.runtime.crash_points import SWITCH
from finetop.core.supervisor import __main__ as program, tick, warm_process
from finetop.core.supervisor.gpus import job_needs, monitor, pool
from finetop.core.supervisor.launchers import local, slurm, slurm_batch, slurm_commands, slurm_queue

LIMIT_S = 60.0
FAKE_JOB = str(Path(__file__).with_name("fake_job.py"))
FAKE = os.environ.get("FINETOP_TEST_JOB", FAKE_JOB)


def main() -> int:
    local.job_command = lambda folder: [sys.executable, FAKE, str(folder)]
    if FAKE == FAKE_JOB:  # it is one process, whatever GPUs it has
        real = ranks.count_of
        ranks.count_of = lambda verb, gpus, asked, nodes=1: real(verb, gpus, asked, nodes) if nodes > 1 else 1
    if job := os.environ.get("FINETOP_TEST_NODES_JOB"):
        launch = ranks.launch_command
        ranks.launch_command = lambda *a, **more: [*(words := launch(*a, **more))[:-4], job, words[-1]]
    local.warm_command = lambda file: [sys.executable, FAKE, "--wait", str(file)]
    warm_process.LOOK_S = warm_process.SETTLE_S = 0.1
    warm_process.IDLE_S = float(os.environ.get("FINETOP_TEST_IDLE_S", warm_process.IDLE_S))
    local.KILL_S = float(os.environ.get("FINETOP_TEST_KILL_S", local.KILL_S))
    tick.START_GRACE_S = float(os.environ.get("FINETOP_TEST_GRACE_S", LIMIT_S))
    if os.environ.get("FINETOP_TEST_NVML") != "real":
        gpus.load = fake_nvml
    if os.environ.get("FINETOP_TEST_TORCH") != "real":  # it fits the GPUs of that file
        torch_fits.misfit = lambda reading, cards: None
    if host := os.environ.get("FINETOP_TEST_HOST"):
        platform.node = lambda: host
    chats.NOTICE_S = float(os.environ.get("FINETOP_TEST_CHAT_NOTICE_S", chats.NOTICE_S))
    monitor.LOOK_S = monitor.AGAIN_S = 0.1
    pool.NO_ANSWER_S = float(os.environ.get("FINETOP_TEST_NO_ANSWER_S", LIMIT_S))
    pool.GRACE_S = 1.0
    job_needs.PATIENCE_S = LIMIT_S
    slurm_queue.LOOK_S = slurm_queue.AGAIN_S = slurm_queue.GATHER_S = 0.5
    slurm_queue.FULL_S = slurm_queue.NODES_S = slurm.SETTLE_S = 1.0
    slurm_commands.LIMIT_S = float(os.environ.get("FINETOP_TEST_SLURM_LIMIT_S", slurm_commands.LIMIT_S))
    slurm_batch.WARNING_S = int(os.environ.get("FINETOP_TEST_WARNING_S", slurm_batch.WARNING_S))
    let_first_keeper_die(os.environ.get("FINETOP_TEST_ABORT_KEEPER"))
    return program.main()


def let_first_keeper_die(place: str | None) -> None:
    """Make only the first keeper die, at a place between two effects."""
    start, first = local.start_keeper, iter([{SWITCH: place}] if place else [])
    local.start_keeper = lambda attempt, own: start(attempt, {**own, **next(first, {})})


def fake_nvml() -> Any | None:
    """Return NVML as a file describes it (tests/rig/fake_nvml.py); None without one: no driver."""
    cards = os.environ.get("FINETOP_TEST_NVML")
    if cards is None:
        return None
    sys.path.append(str(Path(__file__).parent))
    from fake_nvml import FakeNvml

    return FakeNvml(Path(cards))


if __name__ == "__main__":
    sys.exit(main())
