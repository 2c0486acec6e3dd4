"""The training job; and a warm process that has imported all that training needs and waits for one job.

    python -m finetop.core.run_job --warm FILE

Its keeper (core/runtime/keeper.py --spare) writes the job's folder to its standard input; then it becomes that job's
process, as if it had been started for it. Until then it never touches a GPU. It writes FILE when it is ready.
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
from finetop.core.protocol.events import Ended
from finetop.core.runtime import job_process, ranks
from finetop.core.train import train
from finetop.core.train.resume.resume_point import point_of

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
LIBRARIES = ("datasets", "trl", "finetop.core.train.trainers.language")
IF_STOPPED = "asked to stop before the first step"


def work(job: Job, settle: train.Settle) -> Ended:
    """Log the device, ranks and number format, then train."""
    rank = ranks.own()
    if rank.count == 1:
        narrow_gpus()
    job_process.silence_libraries()
    device = devices.open_device(job.gpu_gib, rank.local, LIBRARIES)
    collectives.join(device)
    where = devices.describe_device(device) + (f", {rank.count} ranks" if rank.count > 1 else "")
    job.started(where, devices.number_format(job.dtype, None, device), PACKAGES)
    recipe = job.recipe()
    train.require_device(recipe, device)
    point = point_of(job.spec, job.folder)
    ended = train.train(recipe, job.run_folder, job.home, device, job.events, job.stop, point, settle)
    collectives.leave()
    return ended


def narrow_gpus() -> None:
    """Restrict this process to the first of its GPUs: with several the trainer would split batches over threads."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if len(given) > 1:
        print(f"only the first of {len(given)} GPUs is used: set budget.gpus to train on several", flush=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = given[0].strip()


def wait_for_job(ready: Path) -> Path | None:
    """Import, write `ready`, and return the job's folder once it arrives; None if the keeper went away first."""
    prepare()
    write_ready(ready)
    folder = sys.stdin.readline().strip()
    if not folder:
        return None
    redirect_output(Path(folder))
    return Path(folder)


def prepare() -> None:
    """Set what torch reads when it is imported, then import and rehearse, all without a GPU.

    The imported objects live as long as the process: excluding them from garbage collection saves 0.8 s per training.
    """
    narrow_gpus()
    job_process.set_environment()
    with devices.without_cuda():
        job_process.silence_libraries()
        devices.import_libraries(*LIBRARIES)
        import trl

        from finetop.core.train.resume import resume  # noqa: F401

        for name in ("SFTConfig", "SFTTrainer"):
            getattr(trl, name)  # imported lazily, on first access
        rehearse()
    gc.collect()
    gc.freeze()


def rehearse() -> None:
    """Load a tiny model, put an adapter on it and take a step, so that everything created on first use exists.

    An optimizer imports torch's compiler (1 to 2 s), loading a model compiles 1,000 patterns (0.3 s). There is no
    backward pass: torch would start a thread for each GPU, and with it the driver.
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


def write_ready(file: Path) -> None:
    """Write this process's id and the time to `file`, atomically."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps({"pid": os.getpid(), "ready": time.time()}), encoding="utf-8")
        aside.replace(file)
    except OSError:
        return  # it works all the same; its keeper just does not learn that it is ready


def redirect_output(folder: Path) -> None:
    """Redirect all further output to the job's log."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(folder / "log.txt", flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(here, number)
    os.close(log)
    os.close(nothing)
