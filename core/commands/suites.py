"""`finetop suites`: list what a model can be checked on; --fetch downloads a suite's data sets."""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from typing import Any

from finetop.core.check.statistics import paired_tests as statistics
from finetop.core.check.statistics.betting import spend_alpha
from finetop.core.check.statistics.paired_tests import items_for, level_at_the_end
from finetop.core.check.tasks import download as fetching
from finetop.core.check.tasks.suite import Suite, SuiteTask, find_suite, read_rows, suites
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_columns, print_json
from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import ALPHA, MARGIN
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home
from finetop.core.text import counted
from finetop.core.wording.columns import NOT_KNOWN, Column

OF_A_TASK = ("name", "data", "task", "yaml", "metric", "num_fewshot", "cap", "weight")  # in --json
WON_BY_CHANCE = 0.02  # share of items that an unchanged model wins, and loses, by chance: an assumption
OFTEN_WON = 0.06  # the same of a small model tuned hard
WANTED_POWER = (0.8, 0.95)  # how often a drop of twice the margin should be caught


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "suite", "SUITE", "show this one's tasks (a name, or ./FILE.yaml)", nargs="?")
    options.flag(parser, "--fetch", "fetch the data of every task of SUITE")
    options.path(parser, "--recipe", "RECIPE", "use this recipe's margin, alpha and checks")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.fetch:
        return fetch(args.suite, home)
    found_suites = (find_suite(args.suite, home),) if args.suite else suites(home)
    claims = claims_of(args.recipe)
    if args.json:
        print_json({"suites": [as_json(suite, claims if args.suite else None) for suite in found_suites]})
    elif args.suite:
        print_suite(found_suites[0], claims)
    else:
        print_columns(SUITES, found_suites)
        own = "One of your own: a file in HOME/suites, or ./FILE.yaml."
        print(f"\nA suite's tasks: `finetop suites NAME`. {own}")
    return 0


def fetch(name: str | None, home: Home) -> int:
    """Open every task in a separate process, which may import what this one must not."""
    if not name:
        raise BadInput("--fetch needs a suite.", hint="Say which: `finetop suites core --fetch`.")
    find_suite(name, home)
    return subprocess.run(fetching.command(name, home), check=False).returncode


@dataclass(frozen=True)
class Claims:
    """The checks of a run: its margin as a share, its alpha, and how many checks share it; 0: one has all of it."""

    margin: float = MARGIN / 100
    alpha: float = ALPHA
    checks: int = 0

    @property
    def last_alpha(self) -> float:
        return spend_alpha(self.alpha, self.checks) if self.checks else self.alpha


def claims_of(recipe: str | None) -> Claims:
    """Return the checks of a recipe; without one a single check with the usual margin and alpha. Raises BadInput."""
    if recipe is None:
        return Claims()
    loaded = load_recipe(recipe).recipe
    check = loaded.check
    if check.general is None:
        raise BadInput("check.general is null: the recipe checks no suite.", hint="Leave --recipe out.")
    general, every = check.general, check.every
    if every is None:
        return Claims(general.margin / 100, general.alpha)
    if isinstance(every, float):
        return Claims(general.margin / 100, general.alpha, max(1, round(1 / every)))
    steps = loaded.train.max_steps
    if steps is None:
        hint = "Set check.every to a share of the run, such as 0.25, or set train.max_steps."
        message = f"check.every is {every}: how many checks that makes is known once the data are read."
        raise BadInput(message, hint=hint)
    return Claims(general.margin / 100, general.alpha, max(1, steps // every))


def print_suite(suite: Suite, claims: Claims) -> None:
    print(f"{suite.name}: {suite.about}\n{suite.file}\n")
    print_columns(TASKS, suite.tasks)
    print("", *power_lines(power_of(suite, claims)), sep="\n")


def source_of(task: SuiteTask) -> str:
    """Return where a task's items come from, in few words."""
    if task.task is not None:
        return f"the harness's {task.task}"
    return (task.data or task.yaml or "").rpartition("/")[2]


SUITES: list[Column[Suite]] = [
    Column("suite", lambda suite: suite.name, is_right=False),
    Column("tasks", lambda suite: str(len(suite.tasks))),
    Column("about", lambda suite: suite.about, is_right=False),
]
TASKS: list[Column[SuiteTask]] = [
    Column("task", lambda task: task.name, is_right=False),
    Column("items from", source_of, is_right=False),
    Column("metric", lambda task: task.metric or "its first", is_right=False),
    Column("shots", lambda task: NOT_KNOWN if task.num_fewshot is None else str(task.num_fewshot)),
    Column("at most", lambda task: "all" if task.cap is None else str(task.cap)),
    Column("weight", lambda task: f"{task.weight:g}"),
]


def items_of(task: SuiteTask) -> int | None:
    """Count a task's items, at most its cap; None if its data must be fetched first and it has no cap."""
    if task.data is None:
        return task.cap
    items = len(read_rows(task))
    return items if task.cap is None else min(items, task.cap)


def power_of(suite: Suite, claims: Claims) -> dict[str, Any]:
    """Compute how often a suite catches drops of given sizes, in points and shares, before anything is scored.

    `chance` assumes that every item is scored and WON_BY_CHANCE of them are won by chance, with as many lost. `least`
    is a bad case: the largest task is left out, since the base is no better than a guesser there, and OFTEN_WON.
    """
    counts = [items_of(task) for task in suite.tasks]
    sized = [(items, task.weight) for items, task in zip(counts, suite.tasks, strict=True) if items]
    items = sum(items for items, _ in sized) if None not in counts else None
    margin, alpha = claims.margin, claims.last_alpha
    sizes = [margin * times for times in (2, 3, 4)]
    twice, level = sizes[0], level_at_the_end(alpha)
    flips = 2 * WON_BY_CHANCE + twice
    needed = {f"{share:g}": items_for(share, margin, flips, twice, level) for share in WANTED_POWER}
    caught: list[dict[str, float]] = []
    largest = max(range(len(counts)), key=lambda at: counts[at] or 0, default=0)
    if items:
        left = sorted(sized)[:-1] or sized
        powers = statistics.power_of(sized, margin, alpha, 2 * WON_BY_CHANCE, sizes)
        least = statistics.power_of(left, margin, alpha, 2 * OFTEN_WON, sizes)
        for usual, bad in zip(powers, least, strict=True):
            chances = {"chance": round(usual.chance, 3), "least": round(bad.chance, 3)}
            caught.append({"drop": round(100 * usual.drop, 6), **chances})
    assumed = {"margin": 100 * margin, "won": 100 * WON_BY_CHANCE, "often_won": 100 * OFTEN_WON}
    of_checks = {"alpha": alpha, "checks": claims.checks}
    without = suite.tasks[largest].name if len(sized) > 1 else ""
    at_most = any(task.data is None for task in suite.tasks)
    facts = {"items": items, "at_most": at_most, **assumed, **of_checks, "without": without}
    return {**facts, "caught": caught, "items_for": needed}


def power_lines(power: dict[str, Any]) -> list[str]:
    """Return lines on what a suite can show: how often drops are caught, and how many items catch them more often."""
    lines, twice, caught = [], 2 * power["margin"], power["caught"]
    if power["items"] is None:
        lines.append("How many items it has is not known before its data is fetched: give each task a cap.")
    if caught:
        often = _often(caught, "chance")
        most = "at most " if power["at_most"] else ""
        what = f"What {most}{counted(power['items'], 'item')} can show"
        lines.append(f"{what}: how often a drop is caught: {often}.")
        left_out = f"{power['without']} is left out and " if power["without"] else ""
        lines.append(f"If {left_out}{power['often_won']:g} % are won by chance: {_often(caught, 'least')}.")
    now = caught[0]["chance"] if caught else 0.0
    needed = {float(share): items for share, items in power["items_for"].items() if items}
    more = [f"{items:,} items for {100 * share:g} %" for share, items in needed.items() if now < share]
    if more:
        lines.append(f"To catch {twice:g} points{' more often' if caught else ''}: {', '.join(more)}.")
    flips = f"{power['won']:g} % of the items are won by chance and as many are lost"
    lines.append(f"Assumed: margin {power['margin']:g} points, every item is scored, {flips}.")
    if power["checks"] > 1:
        share = f"the last of {power['checks']} checks, which has {100 * power['alpha']:.2g} % of alpha"
        lines.append(f"These numbers are of {share}; the first one has the largest share.")
    return lines


def _often(caught: list[dict[str, float]], key: str) -> str:
    """Return how often drops are caught: '6 points 48 %, 9 points or more over 99 %'."""
    nearly_sure = [size for size in caught if size[key] > 0.99]
    open_sizes = [size for size in caught if size not in nearly_sure]
    often = [f"{size['drop']:g} points {100 * size[key]:.0f} %" for size in open_sizes]
    often += [f"{nearly_sure[0]['drop']:g} points or more over 99 %"] if nearly_sure else []
    return ", ".join(often)


def as_json(suite: Suite, claims: Claims | None) -> dict[str, Any]:
    tasks = [{key: getattr(task, key) for key in OF_A_TASK} for task in suite.tasks]
    power = {} if claims is None else {"power": power_of(suite, claims)}
    return {"name": suite.name, "about": suite.about, "file": str(suite.file), "tasks": tasks, **power}


PLUGIN = Command("list benchmark suites", "check", run, arguments, is_remote=False)
