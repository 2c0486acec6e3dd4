"""The plan of recipes beside their actual runs, as a table in Markdown: rows, longest, tokens, steps, GiB, s.

    .venv/bin/python tests/bench/plan_beside_run.py --home FOLDER RECIPE.yaml … [--set KEY=VALUE …]

Each recipe is planned by `finetop plan --json`, then trained alone by `python -m finetop.core.run_job`, without its
check at the end. Rows, tokens and steps are the run's own (events `data` and `planned`; the tokens of its last step),
GiB the process's peak resident memory on a CPU (ru_maxrss), on a GPU the most that a step reported, seconds from the
first step's beginning to the end. A planned interval that misses the run's number is marked ✗, as are memory above the
plan's with its margin, and a time off by more than a factor of two. Nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench

from finetop.core.errors import FinetopError
from finetop.core.protocol import events
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home

GIB = 2**30
OWN = ("check.at_end=false", "check.every=null")
HEAD = ("recipe", "rows", "longest", "tokens", "steps", "GiB, with margin", "seconds", "ended")


@dataclass
class Run:
    """The actual numbers of a run, from its own events."""

    happened: list[Any] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    peak: float = 0.0

    def of(self, kind: Any) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]

    def last(self, key: str) -> float | None:
        values = [event.values[key] for event in self.of(events.Metrics) if event.values.get(key) is not None]
        return values[-1] if values else None

    @property
    def seconds(self) -> float | None:
        """Return the seconds from the plan made before the run's first step to its last event."""
        began = [
            at
            for at, event in zip(self.times, self.happened, strict=True)
            if isinstance(event, events.Planned)
        ]
        return self.times[-1] - began[0] if began else None

    @property
    def ended(self) -> str:
        last = self.of(events.Ended)
        return "vanished" if not last else f"{last[0].status} {last[0].cause}".strip()


def planned(recipe: str, home: Home, sets: list[str]) -> tuple[dict[str, Any] | None, str]:
    """Run `finetop plan`. Returns the plan, or why it was refused."""
    words = [*bench.APP, "plan", recipe, "--json", "--home", str(home.root)]
    words += [word for setting in sets for word in ("--set", setting)]
    output = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return json.loads(output.stdout)["plan"], ""
    except (ValueError, KeyError):
        return None, (output.stderr.strip().splitlines() or ["?"])[-1]


def run(recipe: str, home: Home, sets: list[str], number: int) -> Run:
    """Train as the supervisor would, and read the run's events."""
    loaded = load_recipe(recipe, sets)
    job = bench.write_job(home, home.run_folder(number, loaded.recipe.name).name, loaded.resolved)
    actual = Run(peak=bench.run_job(job).ru_maxrss * 1024.0)
    file = job / "events.jsonl"
    for line in file.read_bytes().splitlines() if file.is_file() else ():
        read = events.decode(line)
        actual.happened.append(read.e)
        actual.times.append(read.t)
    started = actual.of(events.Started)
    if started and started[0].device.startswith("cuda"):
        actual.peak = (
            max((event.values.get("memory_gib") or 0.0) for event in actual.of(events.Metrics)) * GIB
        )
    return actual


def beside(plan: float, real: float | None, edges: Any = None, *, is_right: bool | None = None) -> str:
    """Format a planned number beside the real one, marked if it is wrong."""
    if real is None:
        return f"{plan:,.4g} / -"
    low, high = edges or (plan, plan)
    right = low <= real <= high if is_right is None else is_right
    width = f" ({low:,} to {high:,})" if edges else ""
    return f"{_number(plan)}{width} / {_number(real)}{'' if right else ' ✗'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def row(name: str, plan: dict[str, Any] | None, refused: str, actual: Run) -> list[str]:
    """Return a row of the table."""
    planned_events = actual.of(events.Planned)
    if plan is None or plan["steps"] is None:
        return [name, f"refused: {refused}"[:100], *["-"] * 5, actual.ended[:80]]
    steps, part = plan["steps"], plan["steps"]["sampled"] or {}
    longest = max((event.longest_tokens for event in actual.of(events.DataRead)), default=None)
    peak, seconds = actual.peak / GIB, actual.seconds
    foreseen = plan["time"]["seconds"] if plan["time"] else 0.0
    fits = peak <= plan["need"] / GIB
    in_time = seconds is not None and foreseen > 0 and 0.5 <= seconds / foreseen <= 2
    tokens, wanted = actual.last("tokens"), steps["tokens"]
    near = tokens is not None and abs(tokens / max(1, wanted) - 1) <= 0.05
    return [
        name,
        beside(steps["rows"], planned_events[0].rows if planned_events else None, part.get("rows")),
        beside(steps["longest"], longest, is_right=bool(part) or longest == steps["longest"]),
        beside(wanted, tokens, is_right=near),
        beside(steps["steps"], planned_events[0].steps if planned_events else None, part.get("steps")),
        beside(plan["need"] / GIB, peak, is_right=fits),
        beside(foreseen, seconds, is_right=in_time),
        actual.ended[:80],
    ]


def main() -> int:
    args = bench.options(
        __doc__,
        ("recipes", "+"),
        home=({"type": Path, "required": True}, "with the models that the recipes name"),
        set=[],
    )
    home, sets = Home(args.home.absolute()), [*args.set, *OWN]
    print(f"Planned / real.\n\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    first = 1 + max((int(run_folder.name[:4]) for run_folder in home.root.glob("runs/[0-9]*")), default=0)
    for number, recipe in enumerate(args.recipes, start=first):
        plan, refused = planned(recipe, home, sets)
        try:
            actual = run(recipe, home, sets, number)
        except FinetopError as error:
            print(f"| {Path(recipe).stem} | {refused or error} |{' |' * (len(HEAD) - 2)}", flush=True)
            continue
        print(f"| {' | '.join(row(Path(recipe).stem, plan, refused, actual))} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
