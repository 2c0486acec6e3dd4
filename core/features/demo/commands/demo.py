"""`finetop demo`: train and check two small runs, one that learns and remembers, one that learns and forgets.

Nothing is precomputed: both runs are queued from their recipes, trained and checked here, and the actual outcome is
printed, also when it isn't the expected one. Each verdict is printed as soon as it is there; until then a line shows
the progress and about how many minutes are left.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from finetop.core.client.connection import Client, ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.follow import is_live, phase_line, until_over
from finetop.core.commands.shared.output import plain, print_json, print_table, state_words
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import read
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.runs import EventsAnswer
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import check_files, load_recipe
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import decimals
from finetop.core.wording.verdicts import report, short_answer

RECIPES = ("demo-lora", "demo-full-hot")
EXPECTED = {"demo-lora": "ok", "demo-full-hot": "regressed"}

# Seconds of each part on two idle CPU cores; the time left scales them by the pace so far.
# The second reuses the base's scores.
PART_SECONDS = {
    "demo-lora": {"prepare": 14.0, "train": 40.0, "base": 33.0, "tuned": 26.0},
    "demo-full-hot": {"prepare": 8.0, "train": 20.0, "base": 7.0, "tuned": 12.0},
}
WHOLE_S = sum(sum(parts.values()) for parts in PART_SECONDS.values())
TRUSTED_S = 30.0  # the expected pace weighs as much as this many seconds of finished parts
LINE_S = 10.0  # between two lines of the same phase


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, help="seed of both runs (default: the recipes')")
    options.flag(parser, "--no-app", "print lines even in a terminal")


def run(args: argparse.Namespace, home: Home) -> int:
    names = queue(home, args.seed)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if args.open_app is not None and is_terminal and not (args.no_app or args.json):
        return int(args.open_app([home]))
    if not args.json:
        leave = "they keep running if you leave; `finetop` opens the app on them"
        print(f"Two runs are queued in {home.root}: {leave}.")
    rows, checks, began = [], [], time.monotonic()
    for recipe, name in names.items():
        show = (lambda new: None) if args.json else ProgressPrinter(recipe, name, began)
        row = until_over(home, name, show)
        rows.append((recipe, row))
        checks.append(next(iter(ask_once(home, Checks(name)).checks), None))  # the newest
        if not args.json:
            print_outcome(row, checks[-1])
    if args.json:
        print_json({"runs": plain([row for _, row in rows]), "checks": checks})
    else:
        print_both(rows)
    return 0 if all(as_expected(recipe, row) for recipe, row in rows) else 1


def time_left(recipe: str, row: data.RunRow, elapsed_s: float) -> float:
    """Return about how many seconds of the demo are left during this run, by the pace so far."""
    done = sum(sum(PART_SECONDS[before].values()) for before in RECIPES[: RECIPES.index(recipe)])
    part, share = part_under_way(row)
    for name, seconds in PART_SECONDS[recipe].items():
        if name == part:
            done += share * seconds
            break
        done += seconds
    return (WHOLE_S - done) * (elapsed_s + TRUSTED_S) / (done + TRUSTED_S)


def part_under_way(row: data.RunRow) -> tuple[str, float]:
    """Return which part of a run is under way and the fraction of it that is done."""
    checking = row.checking
    if isinstance(row.state, data.Queued | data.Running):
        return ("train", row.step / row.steps) if row.step and row.steps else ("prepare", 0.0)
    if not isinstance(checking, data.Running):
        return "base", 0.0
    part = "tuned" if "tuned" in checking.phase else "base"
    return part, checking.done / checking.total if checking.done and checking.total else 0.0


class ProgressPrinter:
    """Prints the demo's progress: one line overwritten in place in a terminal, else a new line now and then."""

    def __init__(self, recipe: str, name: str, began: float) -> None:
        self.recipe = recipe
        self.name = name
        self.began = began  # the demo
        self.phase = ""
        self.at = 0.0

    def __call__(self, new: EventsAnswer) -> None:
        row = new.row
        over = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        if not is_live(row):
            print("\r\x1b[K" if over else "", end="", flush=True)
            return
        phase = phase_line(row)
        if not over and phase == self.phase and time.monotonic() < self.at + LINE_S:
            return
        self.phase, self.at = phase, time.monotonic()
        left_s = time_left(self.recipe, row, self.at - self.began)
        line = progress_line(self.name, row, left_s)
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}" if over else line, end="" if over else "\n", flush=True)


def progress_line(name: str, row: data.RunRow, left_s: float) -> str:
    """Return the line on a run of the demo: what it does now, its progress, and about how long the demo still takes."""
    phase, state = phase_line(row), row.state if isinstance(row.state, data.Running) else row.checking
    if isinstance(state, data.Running) and state.done is not None and state.total:
        phase = f"{phase.partition(',')[0]} {state.done:,.0f}/{state.total:,.0f} {state.unit}".rstrip()
        if isinstance(row.state, data.Running) and (loss := row.metrics.get("loss")) is not None:
            phase += f", loss {decimals(loss, 2)}"
    left = f"about {long_span(left_s)} left" if left_s >= 60 else "less than a minute left"
    return f"{name}  {phase}  ({left})"


def queue(home: Home, seed: int | None) -> dict[str, str]:
    """Queue both runs. Returns {recipe name: run name}."""
    sets = [] if seed is None else [f"train.seed={seed}"]
    loaded = [load_recipe(name, sets) for name in RECIPES]
    for recipe in loaded:
        check_files(recipe)
    with Client(home) as client:
        asked = (Submit(recipe.resolved, recipe.text, recipe.recipe.name) for recipe in loaded)
        return {name: client.ask(submit).name for name, submit in zip(RECIPES, asked, strict=True)}


def as_expected(recipe: str, row: data.RunRow) -> bool:
    return row.check is not None and row.check.verdict == EXPECTED[recipe]


def print_outcome(row: data.RunRow, check: dict[str, object] | None) -> None:
    """Print a run's outcome as soon as it is known."""
    print()
    if check is None:
        print(f"{row.name}: {state_words(row)}, no check. {getattr(row.state, 'hint', '')}".rstrip())
    else:
        print(report(row.name, read(check)))
    print(flush=True)


def print_both(rows: list[tuple[str, data.RunRow]]) -> None:
    """Print both runs side by side, and whether each had the expected outcome."""
    head = ("run", "how", "target, nats/token", "target, style", "did it forget?")
    print_table(head, [run_cells(row) for _, row in rows])
    print()
    for recipe, row in rows:
        print(verdict_line(recipe, row))
    worst = next((row.name for _, row in rows if row.check and row.check.verdict == "regressed"), None)
    if worst:
        print(f"\nnext: finetop flips {worst}    the items it lost, both answers")


def run_cells(row: data.RunRow) -> tuple[str, ...]:
    target = row.check.target if row.check else {}
    pairs = [target.get(metric, [None, None]) for metric in ("nats_per_token", "rules")]
    loss, rules = (f"{decimals(base, 2)} -> {decimals(tuned, 2)}" for base, tuned in pairs)
    return row.name, row.method, loss, rules, short_answer(row.check) if row.check else state_words(row)


def verdict_line(recipe: str, row: data.RunRow) -> str:
    goal = {"ok": "to learn and remember", "regressed": "to forget"}[EXPECTED[recipe]]
    if as_expected(recipe, row):
        return f"✓ {row.name} was made {goal}, and did."
    outcome = row.check.verdict.replace("_", " ") if row.check else state_words(row)
    return f"✗ {row.name} was made {goal}, but did not: {outcome}."


ABOUT = "train two small runs: one remembers, one forgets"
PLUGIN = Command(ABOUT, "maintenance", run, arguments, is_remote=False)
