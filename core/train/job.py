"""The training job; and a process that has imported all that training needs, and waits for one job.

    python -m finetop.core.run_job --warm FILE

Its keeper (core/runtime/keeper.py --spare) tells it the job's folder on its standard input; then it is that job's
process, as if it had been started for it. It never touches a GPU before. FILE is where it says that it is ready.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.models import collectives, devices
from finetop.core.runtime import job_process, ranks
from finetop.core.train import train
from finetop.core.train.resume.resume_point import point_of

if TYPE_CHECKING:
    from finetop.core.protocol.events import Ended
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
LIBRARIES = ("datasets", "trl", "finetop.core.train.trainers.language")
IF_STOPPED = "asked to stop before the first step"


def work(job: Job) -> Ended:
    """Say who runs on what, then train."""
    rank = ranks.own()
    if rank.count == 1:
        narrow_gpus()
    job_process.quiet()
    device = devices.open_device(job.gpu_gib, rank.local, LIBRARIES)
    collectives.join(device)
    where = devices.describe_device(device) + (f", {rank.count} ranks" if rank.count > 1 else "")
    job.started(where, devices.number_format(job.dtype, None, device), PACKAGES)
    recipe = job.recipe()
    train.require_device(recipe, device)
    point = point_of(job.spec, job.folder)
    ended = train.train(recipe, job.run_folder, job.home, device, job.events, job.stop, point)
    collectives.leave()
    return ended


def narrow_gpus() -> None:
    """Let one process see the first of the GPUs that are given, by number or UUID.

    With several in sight the trainer would split batches over threads, and then refuse.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if len(given) > 1:
        print(f"of {len(given)} GPUs the first is used: budget.gpus says how many", flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = given[0].strip()


def wait_for_job(ready: Path) -> Path | None:
    """Import, say in `ready` that it waits, and return the folder of the job; None where the keeper went away first."""
    prepare()
    say_ready(ready)
    folder = sys.stdin.readline().strip()
    if not folder:
        return None
    take_log(Path(folder))
    return Path(folder)


def prepare() -> None:
    """Set what has to be set before torch is imported, then import, and rehearse, all without a GPU.

    What is imported is never garbage: kept out of its collection, which every training begins with, 0.8 s are saved.
    """
    narrow_gpus()
    job_process.set_environment()
    with devices.without_cuda():
        job_process.quiet()
        devices.import_libraries(*LIBRARIES)
        import trl

        from finetop.core.train.resume import resume  # noqa: F401

        for name in ("SFTConfig", "SFTTrainer"):
            getattr(trl, name)  # imported when it is first named
        rehearse()
    gc.collect()
    gc.freeze()


def rehearse() -> None:
    """Load a tiny model, put an adapter on it and take a step: all that is made when it is first used is made now.

    An optimizer imports torch's compiler (1 to 2 s), a model's loading compiles 1,000 patterns (0.3 s). Nothing is
    differentiated: torch would start a thread for each GPU, and the driver with it.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: F401

    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        LlamaForCausalLM(config).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        adapted = get_peft_model(model, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
        ids = torch.tensor([[1, 2, 3]])
        moving = [weight for weight in adapted.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(moving)
        adapted(input_ids=ids, labels=ids)
        for weight in moving:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()


def say_ready(file: Path) -> None:
    """Write who waits since when, whole or not at all."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps({"pid": os.getpid(), "ready": time.time()}), encoding="utf-8")
        aside.replace(file)
    except OSError:
        return  # it works all the same; only nobody hears that it is ready


def take_log(folder: Path) -> None:
    """Let all that is printed from now on go to the job's log."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(folder / "log.txt", flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(here, number)
    os.close(log)
    os.close(nothing)
