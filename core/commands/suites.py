"""`finetop suites`: list what a model can be checked on; --fetch downloads a suite's data sets."""

from __future__ import annotations

import argparse
import subprocess
from typing import Any

from finetop.core.check.statistics.paired_tests import chance_of_regressed, items_for, level_at_the_end
from finetop.core.check.tasks import download as fetching
from finetop.core.check.tasks.suite import Suite, SuiteTask, find_suite, read_rows, suites
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_json, print_table
from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import ALPHA, MARGIN
from finetop.core.runtime.home import Home
from finetop.core.text import counted

OF_A_TASK = ("name", "data", "task", "yaml", "metric", "num_fewshot", "cap", "weight")  # in --json
WON_BY_CHANCE = 0.02  # share of items that an unchanged model wins, and loses, by chance: an assumption
WANTED_POWER = (0.8, 0.95)  # how often a drop of twice the margin should be caught


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "suite", "SUITE", "show this one's tasks (a name, or ./FILE.yaml)", nargs="?")
    options.flag(parser, "--fetch", "fetch the data of every task of SUITE")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.fetch:
        return fetch(args.suite, home)
    found_suites = (find_suite(args.suite, home),) if args.suite else suites(home)
    if args.json:
        print_json({"suites": [as_json(suite, with_power=bool(args.suite)) for suite in found_suites]})
    elif args.suite:
        print_suite(found_suites[0])
    else:
        rows = [(suite.name, str(len(suite.tasks)), suite.about) for suite in found_suites]
        print_table(("suite", "tasks", "about"), rows, right=(1,))
        own = "One of your own: a file in HOME/suites, or ./FILE.yaml."
        print(f"\nA suite's tasks: `finetop suites NAME`. {own}")
    return 0


def fetch(name: str | None, home: Home) -> int:
    """Open every task in a separate process, which may import what this one must not."""
    if not name:
        raise BadInput("--fetch needs a suite.", hint="Say which: `finetop suites core --fetch`.")
    find_suite(name, home)
    return subprocess.run(fetching.command(name, home), check=False).returncode


def print_suite(suite: Suite) -> None:
    print(f"{suite.name}: {suite.about}\n{suite.file}\n")
    head = ("task", "items from", "metric", "shots", "at most", "weight")
    print_table(head, [cells(task) for task in suite.tasks], right=(3, 4, 5))
    print("", *power_lines(power_of(suite)), sep="\n")


def cells(task: SuiteTask) -> tuple[str, ...]:
    shots = "-" if task.num_fewshot is None else str(task.num_fewshot)
    cap = "all" if task.cap is None else str(task.cap)
    return task.name, source_of(task), task.metric or "its first", shots, cap, f"{task.weight:g}"


def source_of(task: SuiteTask) -> str:
    """Return where a task's items come from, in few words."""
    if task.task is not None:
        return f"the harness's {task.task}"
    return (task.data or task.yaml or "").rpartition("/")[2]


def items_of(task: SuiteTask) -> int | None:
    """Count a task's items, at most its cap; None if its data must be fetched first and it has no cap."""
    if task.data is None:
        return task.cap
    items = len(read_rows(task))
    return items if task.cap is None else min(items, task.cap)


def power_of(suite: Suite) -> dict[str, Any]:
    """Compute how often a suite catches drops of given sizes, in points and shares, before anything is scored.

    Assumes the usual margin and alpha, every item scored, and WON of the items won by chance with as many lost.
    A weighted suite counts as an unweighted one of fewer items (Kish).
    """
    counts = [items_of(task) for task in suite.tasks]
    weighted_counts = [(items, task.weight) for items, task in zip(counts, suite.tasks, strict=True) if items]
    items = sum(items for items, _ in weighted_counts) if None not in counts else None
    margin, level = MARGIN / 100, level_at_the_end(ALPHA)
    sizes = [margin * times for times in (2, 3, 4)]
    twice, flips = sizes[0], 2 * WON_BY_CHANCE
    needed = {f"{share:g}": items_for(share, margin, flips + twice, twice, level) for share in WANTED_POWER}
    caught: list[dict[str, float]] = []
    if items:
        weights, squares = (sum(n * weight**exponent for n, weight in weighted_counts) for exponent in (1, 2))
        effective = round(weights**2 / squares)
        for drop in sizes:
            chance = chance_of_regressed(effective, margin, flips + drop, drop, level)
            caught.append({"drop": round(100 * drop, 6), "chance": round(chance, 3)})
    assumed = {"margin": MARGIN, "won": 100 * WON_BY_CHANCE}
    at_most = any(task.data is None for task in suite.tasks)
    return {"items": items, "at_most": at_most, **assumed, "caught": caught, "items_for": needed}


def power_lines(power: dict[str, Any]) -> list[str]:
    """Return lines on what a suite can show: how often drops are caught, and how many items catch them more often."""
    lines, twice, caught = [], 2 * power["margin"], power["caught"]
    if power["items"] is None:
        lines.append("How many items it has is not known before its data is fetched: give each task a cap.")
    if caught:
        nearly_sure = [size for size in caught if size["chance"] > 0.99]
        open_sizes = [size for size in caught if size not in nearly_sure]
        often = [f"{size['drop']:g} points {100 * size['chance']:.0f} %" for size in open_sizes]
        often += [f"{nearly_sure[0]['drop']:g} points or more over 99 %"] if nearly_sure else []
        most = "at most " if power["at_most"] else ""
        what = f"What {most}{counted(power['items'], 'item')} can show"
        lines.append(f"{what}: how often a drop is caught: {', '.join(often)}.")
    now = caught[0]["chance"] if caught else 0.0
    needed = {float(share): items for share, items in power["items_for"].items() if items}
    more = [f"{items:,} items for {100 * share:g} %" for share, items in needed.items() if now < share]
    if more:
        lines.append(f"To catch {twice:g} points{' more often' if caught else ''}: {', '.join(more)}.")
    flips = f"{power['won']:g} % of the items are won by chance and as many are lost"
    lines.append(f"Assumed: margin {power['margin']:g} points, every item is scored, {flips}.")
    return lines


def as_json(suite: Suite, *, with_power: bool) -> dict[str, Any]:
    tasks = [{key: getattr(task, key) for key in OF_A_TASK} for task in suite.tasks]
    power = {"power": power_of(suite)} if with_power else {}
    return {"name": suite.name, "about": suite.about, "file": str(suite.file), "tasks": tasks, **power}


PLUGIN = Command("list benchmark suites", "check", run, arguments, is_remote=False)
