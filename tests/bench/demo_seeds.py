"""The demo's two verdicts, seed by seed: does each run end as the demo says that it will?

    python tests/bench/demo_seeds.py [--seeds 20] [--first 1] [--home DIR] [--set KEY=VALUE]

Each seed trains and checks both of the demo's recipes, here on the CPU, without samples, a supervisor or the app.
Prints a line for each run, and totals last. CPU seconds are those of this process. Exit code 1 if one ended otherwise.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench

from finetop.core.features.demo.commands.demo import EXPECTED
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.runtime.stop_signal import Stop


def train_and_check(name: str, seed: int, home: Home, sets: list[str]) -> Any:
    """Train and check one run of the demo. Returns the check's result."""
    from finetop.core.check import run_check
    from finetop.core.train import train

    sets = [f"train.seed={seed}", "samples.count=0", "drift.every=null", "train.resumable=false", *sets]
    recipe = load_recipe(name, sets).recipe
    with tempfile.TemporaryDirectory() as aside:
        run, events = Path(aside), EventLog(Path(aside) / "events.jsonl")
        train.train(recipe, run, home, "cpu", events, Stop())
        newest = max((run / "checkpoints").glob("step-*"))
        return run_check.check(recipe, newest, home, "cpu", events, run_folder=run)


def line(name: str, seed: int, result: Any, spent: tuple[float, float]) -> str:
    """Format one run's outcome."""
    reached = {metric: (values.base, values.tuned) for metric, values in result.target.items()}
    target = ", ".join(f"{metric} {base:.2f} -> {tuned:.2f}" for metric, (base, tuned) in reached.items())
    change = "" if result.drop is None else f"{-100 * result.drop:+6.1f}"
    return (
        f"seed {seed:2}  {name:14} {result.verdict:10} {change}  {result.items_used} of {result.items_total} items; "
        f"{target}; CPU {spent[0]:.0f} s, wall {spent[1]:.0f} s"
    )


def main() -> int:
    given = bench.options(
        __doc__, seeds=20, first=1, home=(Path, "a home with the model in it (else a new one)"),
        only=({"choices": list(EXPECTED)}, "one of the two runs"), set=([], "change a setting of both recipes"),
    )  # fmt: skip
    job_process.set_environment()
    with tempfile.TemporaryDirectory() as aside:
        home = Home(given.home or Path(aside))
        prepare(home)
        came: dict[str, list[str]] = {name: [] for name in EXPECTED if given.only in (None, name)}
        for seed in range(given.first, given.first + given.seeds):
            for name, verdicts in came.items():
                began = time.process_time(), time.monotonic()
                result = train_and_check(name, seed, home, given.set)
                verdicts.append(result.verdict)
                spent = time.process_time() - began[0], time.monotonic() - began[1]
                print(line(name, seed, result, spent), flush=True)
    for name, verdicts in came.items():
        print(f"{name}: {verdicts.count(EXPECTED[name])} of {len(verdicts)} {EXPECTED[name]}")
    return 0 if all(set(verdicts) == {EXPECTED[name]} for name, verdicts in came.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
