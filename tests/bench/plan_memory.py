"""Peak memory of real training runs on this CPU beside the plan's estimate, one method or objective per row.

    FINETOP_TEST_DATA=/data .venv/bin/python tests/bench/plan_memory.py --model FOLDER [--steps 3] [--set KEY=VALUE …]
        [--methods lora,full,lora+nf4,dpo,full/dpo | all] [--reward CHECKPOINT]

A name is a method (with +nf4 or +int8), which trains on rows of medquad, or an objective with its recipe's method, or
METHOD/OBJECTIVE. Each row is a separate run of `python -m finetop.core.run_job`; its peak is the process's highest
resident memory (ru_maxrss from wait4). It trains only on the longest rows of its data: a plan is for the longest batch,
which three steps over any rows do not meet. Errors are those of the estimate. --reward: a reward run's checkpoint that
ppo, rloo and grpo use beside a rule.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import bench

from finetop.core.plan import lengths, machine
from finetop.core.plan.estimate import estimate
from finetop.core.plan.result import Plan
from finetop.core.plan.shape import read_config, read_shape
from finetop.core.plan.workload import Known
from finetop.core.recipe.load import Loaded, load_recipe
from finetop.core.runtime.home import Home
from finetop.core.train import methods, objectives
from finetop.core.train.methods import _start

SETTINGS = (
    "check.at_end=false", "train.batch_size=4", "train.grad_accumulation=2", "data.max_tokens=256",
    "data.on_long=truncate", "train.eval_every=1000", "train.save_every=1000", "drift.every=null",
    "samples.count=0",
)  # fmt: skip
PAIRS = "dpo_en_demo/train.jsonl"
WRITES = ("data.max_tokens=128", "data.on_long=drop", "objective.max_new_tokens=48")
# The rows and settings of objectives that do not use medquad's.
DATA = {
    "dpo": (PAIRS, ()), "orpo": (PAIRS, ()), "reward": (PAIRS, ()), "kto": ("kto_en_demo/train.jsonl", ()),
    "continued-pretraining": ("medical_text/train.jsonl", ()), "pretrain": ("shakespeare/train.jsonl", ()),
    "ppo": ("medquad/train.jsonl", WRITES), "rloo": ("medquad/train.jsonl", WRITES),
    "grpo": ("medquad/train.jsonl", WRITES),
}  # fmt: skip


def everything() -> list[str]:
    """Return every method on all kinds of weights that it supports, then every other objective."""
    own = [
        name if kind == "none" else f"{name}+{kind}"
        for kind in _start.ALL_FORMATS
        for name in methods.names()
        if kind in methods.load(name).quantized
    ]
    return [*own, *(name for name in objectives.names() if name != "sft")]


def longest_rows(file: Path, folder: Path) -> Path:
    """Write the hundred rows with the longest answers, or texts."""
    chosen = sorted(bench.read_rows(file), key=_length, reverse=True)[:100]
    return bench.write_rows(folder / file.name, chosen)


def _length(row: dict[str, Any]) -> int:
    if "chosen" in row:
        return min(len(row[name]["value"]) for name in ("chosen", "rejected"))
    return len(row["text"] if "text" in row else row["messages"][-1]["content"])


def recipe_of(
    name: str, model: Path, data: Path, folder: Path, steps: int, sets: list[str], reward: str = ""
) -> Loaded:
    """Load the recipe of a name, on the longest rows of its file in the data folder."""
    rest, _, kind = name.partition("+")
    method, _, objective = rest.rpartition("/") if "/" in rest else ("", "", rest)
    rows, settings = DATA.get(objective, ("medquad/train.jsonl", ()))
    own = [f"model.id={model}", f"data.train=[{{path: {longest_rows(data / rows, folder)}}}]"]
    own += [*SETTINGS, "train.epochs=null", f"train.max_steps={steps}", *settings]
    if method:
        own.append(f"method={{name: {method}}}")
    if kind:
        own.append(f"model.quantize={kind}")
    if objective == "distill":
        own.append(f"objective.teacher={model}")
    if settings is WRITES:
        judge = f"model: {reward}, " if reward else ""
        own.append(f"objective.reward={{{judge}rules: [{{rule: length, value: [10, 30]}}]}}")
    return load_recipe(objective, [*own, *sets])


def run(loaded: Loaded, home: Home) -> tuple[float, str]:
    """Train, and return the peak in bytes and the last line of the log."""
    job = bench.write_job(home, home.run_folder(1, loaded.recipe.name).name, loaded.resolved)
    usage = bench.run_job(job)
    lines = (job / "log.txt").read_text(encoding="utf-8").strip().splitlines() or [""]
    return usage.ru_maxrss * 1024.0, lines[-1]


def plan(loaded: Loaded, model: Path, home: Home) -> Plan:
    config = read_config(model)
    known = Known(lengths=lengths.measure(loaded.recipe, model, home), teacher=read_shape(config))
    return estimate(loaded.recipe, config, machine.read_machine(home.root, measure=False), known)


def main() -> int:
    args = bench.options(
        __doc__, model={"type": Path, "required": True}, methods=("lora,full", "names, or all"), steps=3,
        reward=("", "a checkpoint of a reward run"), set=[],
    )  # fmt: skip
    data = bench.data_folder()
    model = args.model.absolute()
    print(f"{'name':<24}{'measured':>9}{'estimate':>9}{'error':>8}  (GB) parts")
    errors = []
    for name in everything() if args.methods == "all" else args.methods.split(","):
        with tempfile.TemporaryDirectory() as folder:
            sets = (args.steps, args.set, args.reward)
            loaded = recipe_of(name, model, data.absolute(), Path(folder), *sets)
            home = Home(Path(folder) / "home")
            planned = plan(loaded, model, home)
            peak, last = run(loaded, home)
        if not last.startswith("finished"):
            print(f"{name:<24}{last[:90]}", flush=True)
            continue
        errors.append(planned.estimate / peak - 1)
        parts = json.dumps({part.name: round(part.bytes / 1e9, 2) for part in planned.parts})
        print(
            f"{name:<24}{peak / 1e9:>9.2f}{planned.estimate / 1e9:>9.2f}{errors[-1]:>+8.1%}  {parts}",
            flush=True,
        )
    if errors:
        largest = max(errors, key=abs)
        print(
            f"\n{len(errors)} rows: largest error {largest:+.1%}, {sum(map(abs, errors)) / len(errors):.1%} on average"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
