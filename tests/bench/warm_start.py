"""From Enter to the first step: training in the waiting process (warm) beside one in a new process (cold).

    python tests/bench/warm_start.py --model FOLDER --rows FILE.jsonl [--times 3] [--samples]

It starts a supervisor on a new home for each, submits LoRA runs as `finetop run` does, and reads when each of their
phases began: from the submit to the start of step 1, how much of it is loading the model, and how much the rest.
Without --samples no answers are written and no drift is measured before step 1, because that is work rather than
start-up.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import bench
from rig import REAL, Rig
from waiting import TORCH_LIMIT_S as LIMIT_S, wait_until

from finetop.core.protocol import events
from finetop.core.protocol.messages.session import Hello
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.runtime.home import Home

LOADING = "loading the model"


def main() -> int:
    args = bench.options(
        __doc__, model={"required": True}, rows={"required": True}, times=3, samples=False,
        only={"choices": ("cold", "warm")},
    )  # fmt: skip
    recipe = recipe_of(args)
    print(f"{'':6} {'Enter to step 1':>16} {'loading':>9} {'all else':>9}   phases, s")
    for kind, switch in (("cold", "0"), ("warm", "1")):
        if args.only not in (None, kind):
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(kind, switch, recipe, Home(Path(folder) / "home"), args.times)
    return 0


def recipe_of(args: argparse.Namespace) -> Loaded:
    settings: dict[str, Any] = {
        "recipe": 1, "name": "start", "extends": "lora", "model": {"id": str(Path(args.model).absolute())},
        "data": {"train": [{"path": str(Path(args.rows).absolute()), "rows": 200}], "on_long": "truncate"},
        "train": {"max_steps": 1, "batch_size": 1, "grad_accumulation": 1, "resumable": False},
        "check": {"at_end": False},
    }  # fmt: skip
    if not args.samples:
        settings |= {"samples": {"count": 0}, "drift": {"every": None}}
    return resolve_text(json.dumps(settings))


def measure(kind: str, switch: str, recipe: Loaded, home: Home, times: int) -> None:
    rig = Rig(home, program=REAL)
    rig.up(FINETOP_SPARE=switch)
    try:
        for _ in range(times):
            if kind == "warm":
                wait_until(
                    lambda: "waits for the next" in rig.ask(Hello()).spare, rig.home.log.read_text, LIMIT_S
                )
            time_start(kind, recipe, rig)
    finally:
        rig.stop_all()


def time_start(kind: str, recipe: Loaded, rig: Rig) -> None:
    """Submit a run, wait for its end, and print when each phase began."""
    began = time.time()
    name = rig.ask(Submit(recipe.resolved, recipe.text, "start")).name
    rig.wait_state(name, "finished", limit_s=LIMIT_S)
    file = rig.job_folder(name) / "events.jsonl"
    lines = [events.decode(line) for line in file.read_bytes().splitlines()]
    marks = [("process", lines[0].t)] + [
        (entry.e.name, entry.t) for entry in lines if isinstance(entry.e, events.Phase)
    ]
    first = next(entry for entry in lines if isinstance(entry.e, events.Metrics) and "loss" in entry.e.values)
    step = first.t - first.e.values["tokens"] / first.e.values["tokens_per_s"]  # when it began
    starts = [mark for mark in marks if mark[1] <= step]
    ends = [moment for _, moment in starts[1:]] + [step]
    spans = [(name, end - moment) for (name, moment), end in zip(starts, ends, strict=True)]
    loading = sum(span for name, span in spans if name == LOADING)
    total = step - began
    summary = ", ".join(
        f"{name} {span:.2f}" for name, span in [("to the process", starts[0][1] - began), *spans]
    )
    print(f"{kind:6} {total:16.2f} {loading:9.2f} {total - loading:9.2f}   {summary}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
