"""Real training jobs in two ranks on the CPU (gloo): made, started as the supervisor would, and read.

    torchrun … rank_jobs.py JOB_FOLDER…

As a program it runs several jobs in a row in the same ranks, so that a test imports only once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from tiny_run import IN_SUITE, chat, recipe_text, write_rows, write_suite
from waiting import TORCH_LIMIT_S

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


def run_all(jobs: list[Path], count: int) -> None:
    """Run jobs one after another in the same ranks; all must succeed."""
    command = ranks.launch_command(jobs[0], count)
    done = subprocess.run(
        [*command[:-3], __file__, *map(str, jobs)],
        env={**environment(), "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TORCH_LIMIT_S * len(jobs),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


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
