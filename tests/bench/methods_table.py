"""Every method on the real small model: the loss after 30 steps, speed, memory, and reloading from disk.

    FINETOP_TEST_DATA=DATA python tests/bench/methods_table.py --model FOLDER [--methods lora,osf+nf4] [--steps 30]

Rows of medquad of at most --tokens tokens, 4 per step, in float32 (--dtype); options and rate are those of each
method's recipe. --longest takes the longest rows: a plan is for the longest batch, which few steps over any rows do not
meet. The memory of other objectives, beside their plan, is measured by plan_beside_run.py. Each trains in a separate
process as a run does: `python -m finetop.core.run_job JOB`, without samples, drift probe and check. Losses are means
over three steps, tokens/s that of the second half of the steps. Memory is the peak of the process (resident set on a
CPU, reserved on a GPU), beside finetop plan's estimate. "back" is the largest difference of a logit, on a row of the
data, between the trainer's model and its checkpoint loaded on a fresh base in another process. Without --methods: all,
then those that support nf4 and int8, as NAME+nf4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import bench

from finetop.core.protocol.events import Metrics, Planned
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home
from finetop.core.train import methods

# The job, which also reports the logits of one row before the trainer's model is gone, and its peak memory.
JOB = """
import os, resource
import torch
from finetop.core import run_job as job
from finetop.core.models import checkpoint
from finetop.core.train import check_callback as checks
write = checkpoint.write
def keep(model, *others):
    ids = torch.load(os.environ["IDS"])
    with checks.undisturbed(model, {}), torch.no_grad():
        read = model(input_ids=ids.to(model.device)).logits[:, -ids.shape[1]:]
    torch.save(read.float().cpu(), os.environ["BEFORE"])
    return write(model, *others)
checkpoint.write = keep
code = job.main()
on_gpu = torch.cuda.is_available()
print("PEAK", torch.cuda.max_memory_reserved() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
raise SystemExit(code)
"""
BACK = """
import json, sys
from pathlib import Path
import torch
from finetop.core.models import devices, load, resolve
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.recipe.load import recipe_from_mapping
recipe = recipe_from_mapping(json.loads(Path(sys.argv[1]).read_text()))
base = resolve.resolve_model(recipe.model, Home(Path(sys.argv[2])), EventLog(Path(sys.argv[2]) / "back.jsonl"))
device = devices.pick_device()
dtype = load.torch_dtype(devices.number_format(recipe.model.dtype, base.path, device), device)
model, _ = load_checkpoint(base, Path(sys.argv[3]), dtype, device)
ids, before = torch.load(sys.argv[4]), torch.load(sys.argv[5])
with torch.no_grad():
    read = model.eval()(input_ids=ids.to(model.device)).logits[:, -ids.shape[1]:].float().cpu()
print("BACK", float((read - before).abs().max()))
"""


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    name: str
    trainable: int
    first: float
    last: float
    tokens_per_s: float
    peak_gib: float
    planned_gib: float | None
    back: float


def main() -> int:
    args = bench.options(
        __doc__, model={"required": True, "type": Path},
        methods=("", "names, with +nf4 or +int8; all of them by default"), steps=30, tokens=128, dtype="float32",
        longest=False, set=([], "laid over each recipe, as in finetop run"),
    )  # fmt: skip
    failed = 0
    print(f"| {' | '.join(COLUMNS)} |\n|---|" + "--:|" * (len(COLUMNS) - 1), flush=True)
    for name in args.methods.split(",") if args.methods else everything():
        with tempfile.TemporaryDirectory(prefix="methods-") as folder:
            try:
                print(line(run(name, args, Path(folder))), flush=True)
            except RuntimeError as error:
                failed += 1
                print(f"{name}: FAILED: {error}", flush=True)
    return 1 if failed else 0


def everything() -> list[str]:
    """Return every method on the weights that its recipe uses, then the quantised variants of all that support them."""
    names = [name for name in methods.names() if "none" in methods.load(name).quantized]
    more = [
        f"{name}+{kind}"
        for kind in ("nf4", "int8")
        for name in methods.names()
        if kind in methods.load(name).quantized
    ]
    return names + more


def run(name: str, args: argparse.Namespace, folder: Path) -> Result:
    """Train with one method. Raises RuntimeError with the end of the log on failure."""
    method, _, kind = name.partition("+")
    source = bench.data_folder() / "medquad" / "train.jsonl"
    data = write_rows(source, folder, args.steps * 4, longest=args.longest)
    sets = [
        f"model.id={args.model.resolve()}", f"model.dtype={args.dtype}", f"model.quantize={kind or 'none'}",
        f"data.train=[{{path: {data}}}]", "data.eval={share: 0}", f"data.max_tokens={args.tokens}",
        "data.on_long=truncate", "train.epochs=null", f"train.max_steps={args.steps}", "train.batch_size=4",
        "train.grad_accumulation=1", "train.save_every=1.0", "samples.count=0", "drift.every=null",
        "check.at_end=false", *args.set,
    ]  # fmt: skip
    loaded = load_recipe(method, sets)
    home = Home(folder / "home")
    job = bench.write_job(home, "0001-bench", loaded.resolved)
    ids, before = folder / "ids.pt", folder / "before.pt"
    write_ids(args.model, data, ids)
    output = call([sys.executable, "-c", JOB, str(job)], IDS=str(ids), BEFORE=str(before))
    steps = [event for event in bench.read_events(job, Metrics) if "loss" in event.values]
    checkpoint = next((job.parents[1] / "checkpoints").glob("step-*"))
    (folder / "recipe.json").write_text(json.dumps(loaded.resolved))
    files = (folder / "recipe.json", home.root, checkpoint, ids, before)
    back = call([sys.executable, "-c", BACK, *map(str, files)])
    tail = steps[len(steps) // 2 :]
    return Result(
        name=name,
        trainable=bench.read_events(job, Planned)[0].trainable_parameters,
        first=mean([event.values["loss"] for event in steps[:3]]),
        last=mean([event.values["loss"] for event in steps[-3:]]),
        tokens_per_s=mean([event.values["tokens_per_s"] for event in tail]),
        peak_gib=float(output.split("PEAK ")[1].split()[0]) / 2**30,
        planned_gib=planned(loaded.recipe, args.model, home),
        back=float(back.split("BACK ")[1].split()[0]),
    )


def planned(recipe: Any, model: Path, home: Home) -> float | None:
    """Return finetop plan's estimate of the memory, in GiB."""
    from finetop.core.plan.estimate import estimate
    from finetop.core.plan.machine import read_machine
    from finetop.core.plan.shape import read_config

    return (
        float(estimate(recipe, read_config(model), read_machine(home.root, measure=False)).estimate) / 2**30
    )


def write_rows(source: Path, folder: Path, count: int, *, longest: bool) -> Path:
    """Write the first rows of medquad, or those with the longest answers, as prompts and completions."""
    rows = bench.read_rows(source)
    if longest:
        rows.sort(key=lambda row: -len(row["answer"]))
    pairs = ({"prompt": row["question"], "completion": row["answer"]} for row in rows[:count])
    return bench.write_rows(folder / "rows.jsonl", pairs)


def write_ids(model: Path, data: Path, file: Path) -> None:
    """Save the tokens of one row, for the comparison."""
    import torch
    from transformers import AutoTokenizer

    row = bench.read_rows(data)[0]
    ids = AutoTokenizer.from_pretrained(model)(f"{row['prompt']}\n{row['completion']}").input_ids[:96]
    torch.save(torch.tensor([ids]), file)


def call(command: list[str], **more: str) -> str:
    """Run a process to its end. Raises RuntimeError with its last lines if it fails."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(" | ".join((done.stdout + done.stderr).strip().splitlines()[-4:])[:800])
    return done.stdout


COLUMNS = ("method", "moving", "loss first", "last", "tokens/s", "peak GiB", "planned", "back")


def line(result: Result) -> str:
    """Return a row of the table."""
    planned_text = "" if result.planned_gib is None else f"{result.planned_gib:.2f}"
    cells = [
        result.name, f"{result.trainable:,}", f"{result.first:.3f}", f"{result.last:.3f}",
        f"{result.tokens_per_s:.0f}", f"{result.peak_gib:.2f}", planned_text, f"{result.back:.1e}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
