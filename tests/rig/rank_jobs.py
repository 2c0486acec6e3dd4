"""Real training jobs in two ranks on the CPU (gloo): made, started as the supervisor would, and read.

    python rank_jobs.py JOB_FOLDER…

As a program it is a rank that runs several jobs in a row. The Python of warm_python.py forks it from a process that has
imported torch, and no torchrun, which imports torch too, is between; tests/faults/test_rank_dies.py has one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from tiny_run import IN_SUITE, chat, recipe_text, write_rows, write_suite
from waiting import TORCH_LIMIT_S, wait_until

from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import ranks

ROWS = [
    chat(f"What is {n}?" + " Say it." * (n % 5), f"It is {n * n}." + " Yes." * (n % 3)) for n in range(1, 41)
]
PAIRS = [
    {"prompt": f"What is {n}?", "chosen": f"It is {n * n}.", "rejected": f"No idea, {n} perhaps."}
    for n in range(1, 41)
]
MARKED = [
    {"prompt": f"What is {n}?", "completion": f"It is {n * n}.", "label": n % 2 == 0} for n in range(1, 41)
]
TEXTS = [{"text": f"Number {n} is here. " * (n % 4 + 1)} for n in range(1, 41)]
# What rows an objective learns from; the others use conversations.
DATA = {
    "dpo": PAIRS, "orpo": PAIRS, "reward": PAIRS, "kto": MARKED, "continued-pretraining": TEXTS, "pretrain": TEXTS,
}  # fmt: skip
WAYS = {
    "sft-full": {"method": {"name": "full"}, "train": {"learning_rate": 0.003}},
    "sft-lora": {"method": {"name": "lora", "rank": 4}, "train": {"learning_rate": 0.01}},
    "dpo-lora": {"method": {"name": "lora", "rank": 4}, "objective": {"name": "dpo"}},
    "sft-lora-divided": {"method": {"name": "lora", "rank": 4}, "train": {"learning_rate": 0.01, "parallel": "fsdp"}},
    "sft-qlora-divided": {"method": {"name": "lora", "rank": 4}, "model": {"quantize": "nf4"},
                          "train": {"learning_rate": 0.01, "parallel": "fsdp"}},
    "dpo-lora-divided": {"method": {"name": "lora", "rank": 4}, "objective": {"name": "dpo"},
                         "train": {"parallel": "fsdp"}},
    "dpo-full": {"method": {"name": "full"}, "objective": {"name": "dpo"}, "train": {"learning_rate": 0.001}},
}  # fmt: skip


def make_run(home: Path, model: Path, name: str, /, **sections: Any) -> Path:
    """Make a run's folder with its data, its recipe and its suite. Returns the run's folder."""
    folder = home / "runs" / f"0001-{name}"
    folder.mkdir(parents=True)
    write_suite(home)
    rows = DATA.get(sections.get("objective", {}).get("name", "sft"), ROWS)
    own = {
        "train": {
            "max_steps": 5,
            "batch_size": 2,
            "learning_rate": 0.001,
            "keep_checkpoints": None,
            "save_every": 2,
            "eval_every": 1.0,
        },
        "samples": {"count": 2, "max_new_tokens": 4},
        "drift": {"every": 0.5},
    }
    data = write_rows(home / f"{name}.jsonl", rows)
    (folder / "recipe.json").write_text(recipe_text(model, data, IN_SUITE, own, sections))
    return folder


def make_job(run: Path, count: int, args: dict[str, Any] | None = None, **train: Any) -> Path:
    """Make a run's next training job, in `count` ranks. Returns its folder."""
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["train"] |= train
    number = len(list((run / "jobs").glob("*"))) + 1
    job = run / "jobs" / f"{number:04d}-train"
    job.mkdir(parents=True)
    resolved = resolve_text(json.dumps(recipe)).resolved
    spec = JobSpec(1, number, 1, "tiny", "train", resolved, args or {}, ranks=count)
    (job / "job.json").write_bytes(msgspec.json.encode(spec))
    return job


def going_on(step: int) -> dict[str, Any]:
    """Return the arguments of a job that resumes from a step's checkpoint."""
    return {"resume": {"step": step, "checkpoint": f"checkpoints/step-{step:06d}", "anyway": False}}


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def start(job: Path, count: int) -> subprocess.Popen[str]:
    """Start one job as its keeper would."""
    return subprocess.Popen(
        ranks.launch_command(job, count), env=environment(), cwd=job, stdout=(job / "log.txt").open("w"),
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run_all(jobs: list[Path], count: int, program: str) -> None:
    """Run jobs one after another in the same ranks, which this Python starts itself; all must succeed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    log = jobs[0] / "ranks.txt"
    with log.open("w") as output:
        members = [
            subprocess.Popen(
                [program, __file__, *map(str, jobs)], stdout=output, stderr=output, cwd=jobs[0],
                env={**environment(), **({} if count == 1 else {**meeting, **place_of(rank, count)})},
            )
            for rank in range(count)
        ]  # fmt: skip
    try:
        wait_until(
            lambda: any(member.poll() for member in members) or all(m.poll() == 0 for m in members),
            log.read_text, TORCH_LIMIT_S * len(jobs),
        )  # fmt: skip
    finally:
        for member in members:
            member.kill()
    assert [member.wait() for member in members] == [0] * count, log.read_text()[-6000:]


def place_of(rank: int, count: int) -> dict[str, str]:
    """Return what torchrun tells a rank of its place."""
    own, all_of_them = str(rank), str(count)
    return {"RANK": own, "LOCAL_RANK": own, "WORLD_SIZE": all_of_them, "LOCAL_WORLD_SIZE": all_of_them}


def main() -> int:
    from finetop.core import run_job
    from finetop.core.models import collectives
    from finetop.core.train import intervals

    intervals.LARGEST_SHARE = 1e9  # drift is measured at its set pace, however busy the machine is
    if "IN_PARTS" in os.environ:  # write every state in parts, as large ones are
        from finetop.core.train.resume import sharded

        sharded.ABOVE = 0
    if "ALL_READ" in os.environ:  # each rank reads the weights, and none receives them
        from finetop.core.train import parallel

        parallel.load_model = lambda recipe, base, device, make: make("cpu")
    part = collectives.leave
    collectives.leave = lambda: None  # the ranks stay together for the next job
    codes = []
    for folder in sys.argv[1:]:
        codes.append(run_job.run(Path(folder)))
        collectives.gathered(None)
    part()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
