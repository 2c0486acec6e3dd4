"""Peak memory of real training runs on this CPU beside the plan's estimate, a method a row.

    FINETOP_TEST_DATA=/data .venv/bin/python tests/bench/plan_memory.py --model FOLDER [--methods lora,full]
        [--steps 3] [--set KEY=VALUE …]

Each row is a run of its own through `python -m finetop.core.train`, on medquad rows; its peak is the process's
highest resident memory (ru_maxrss, what wait4 says). Errors are of the estimate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from finetop.core.home import Home, prepare
from finetop.core.plan import lengths, machine
from finetop.core.plan.estimate import Known, Plan, estimate
from finetop.core.plan.shape import read_config
from finetop.core.recipe.load import Loaded, load_recipe
from finetop.core.run import JobSpec

SETTINGS = (
    "check.at_end=false",
    "train.batch_size=4",
    "train.grad_accumulation=2",
    "data.max_tokens=256",
    "data.on_long=truncate",
    "train.eval_every=1000",
    "train.save_every=1000",
    "drift.every=null",
    "samples.count=0",
)


def recipe_of(method: str, model: Path, rows: Path, steps: int, sets: list[str]) -> Loaded:
    own = [f"model.id={model}", f"data.train=[{{path: {rows}, rows: 100}}]", f"train.max_steps={steps}"]
    return load_recipe(method, [*own, *SETTINGS, *sets])


def run(loaded: Loaded, home: Home) -> tuple[float, str]:
    """Train, and give the peak in bytes and the last line of the log."""
    prepare(home)
    job = home.run_folder(1, loaded.recipe.name) / "jobs" / "0001-train"
    job.mkdir(parents=True)
    spec = JobSpec(1, 1, 1, loaded.recipe.name, "train", loaded.resolved)
    (job / "job.json").write_bytes(msgspec.json.encode(spec))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (job / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetop.core.train", str(job)], env=environment, stdout=log, stderr=log
        )
        _, _, usage = os.wait4(process.pid, 0)
    lines = (job / "log.txt").read_text(encoding="utf-8").strip().splitlines() or [""]
    return usage.ru_maxrss * 1024.0, lines[-1]


def plan(loaded: Loaded, model: Path, home: Home) -> Plan:
    found = lengths.measure(loaded.recipe, model)
    return estimate(
        loaded.recipe, read_config(model), machine.look(home.root, measure=False), Known(lengths=found)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--methods", default="lora,full")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    data = os.environ.get("FINETOP_TEST_DATA")
    if data is None:
        print("FINETOP_TEST_DATA names no folder", file=sys.stderr)
        return 2
    rows = Path(data).absolute() / "medquad" / "train.jsonl"
    print(f"{'method':<18}{'measured':>9}{'estimate':>9}{'error':>8}  (GB) parts")
    errors = []
    for method in args.methods.split(","):
        loaded = recipe_of(method, args.model.absolute(), rows, args.steps, args.set)
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder) / "home")
            made = plan(loaded, args.model, home)
            peak, last = run(loaded, home)
        if not last.startswith("finished"):
            print(f"{method:<18}{last[:90]}")
            continue
        errors.append(made.estimate / peak - 1)
        parts = json.dumps({part.name: round(part.bytes / 1e9, 2) for part in made.parts})
        print(
            f"{method:<18}{peak / 1e9:>9.2f}{made.estimate / 1e9:>9.2f}{errors[-1]:>+8.1%}  {parts}",
            flush=True,
        )
    if errors:
        print(f"\n{len(errors)} methods: largest error {max(map(abs, errors)):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
