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
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench

from finetop.core.client.connection import Client
from finetop.core.errors import FinetopError
from finetop.core.protocol import events
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.runtime.home import Home, prepare

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
        "recipe": 1,
        "name": "start",
        "extends": "lora",
        "model": {"id": str(Path(args.model).absolute())},
        "data": {"train": [{"path": str(Path(args.rows).absolute()), "rows": 200}], "on_long": "truncate"},
        "train": {"max_steps": 1, "batch_size": 1, "grad_accumulation": 1, "resumable": False},
        "check": {"at_end": False},
    }
    if not args.samples:
        settings |= {"samples": {"count": 0}, "drift": {"every": None}}
    return resolve_text(json.dumps(settings))


def measure(kind: str, switch: str, recipe: Loaded, home: Home, times: int) -> None:
    prepare(home)
    with home.log.open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "finetop.core.supervisor", "--home", str(home.root)],
            stdout=log,
            stderr=log,
            env={**os.environ, "FINETOP_SPARE": switch},
        )
    try:
        wait_for(home, lambda client: bool(client.ask(Hello())))
        for _ in range(times):
            if kind == "warm":
                wait_for(home, lambda client: "waits for the next" in client.ask(Hello()).spare)
            time_start(kind, recipe, home)
    finally:
        supervisor.terminate()
        supervisor.wait()


def wait_for(home: Home, holds: Any) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            with Client(home, start=False) as client:
                if holds(client):
                    return
        except FinetopError:
            pass
        time.sleep(0.05)
    raise SystemExit(home.log.read_text())


def time_start(kind: str, recipe: Loaded, home: Home) -> None:
    """Submit a run, wait for its end, and print when each phase began."""
    with Client(home, start=False) as client:
        began = time.time()
        name = client.ask(Submit(recipe.resolved, recipe.text, "start")).name
    wait_for(home, lambda client: client.ask(GetRun(name)).row.state.__class__.__name__ == "Finished")
    with Client(home, start=False) as client:
        detail = client.ask(GetRun(name))
    file = home.root / detail.folder / detail.jobs[-1].folder / "events.jsonl"
    lines = [events.decode(line) for line in file.read_bytes().splitlines()]
    marks = [("process", lines[0].t)] + [
        (entry.e.name, entry.t) for entry in lines if isinstance(entry.e, events.Phase)
    ]
    first = next(entry for entry in lines if isinstance(entry.e, events.Metrics) and "loss" in entry.e.values)
    values = (
        {key: value or 0.0 for key, value in first.e.values.items()}
        if isinstance(first.e, events.Metrics)
        else {}
    )
    step = first.t - values["tokens"] / values["tokens_per_s"]  # when it began
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
