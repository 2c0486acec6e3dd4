"""`finetop compare RUN RUN …`: differences in recipes and data, results, and the Pareto front."""

from __future__ import annotations

import argparse
import string
import time
from collections.abc import Sequence

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, print_table, terminal_width, widths_of
from finetop.core.commands.shared.table_layout import total_width
from finetop.core.errors import BadInput
from finetop.core.features.compare import compare_runs
from finetop.core.features.data_versions import wording as data_versions
from finetop.core.features.data_versions.messages import DataDiffer, DataDifferAnswer
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line

FEW, MANY = 1, 10  # examples of each kind of difference
DIFFERS, RESULTS = "what differs", "results (* best)"  # titles of the tables
LETTERS = string.ascii_uppercase


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "runs", "RUN", "two or more runs, by name or number", nargs="+")
    only = parser.add_mutually_exclusive_group()
    options.flag(only, "--recipe", "only differences of the recipes")
    options.flag(only, "--data", "only differences of the data, with more examples")


def run(args: argparse.Namespace, home: Home) -> int:
    wanted = list(dict.fromkeys(args.runs))
    if not 2 <= len(wanted) <= compare_runs.MOST_RUNS:
        raise BadInput(
            f"finetop compare takes 2 to {compare_runs.MOST_RUNS} different runs, not {len(wanted)}.",
            hint="Name them: finetop compare RUN RUN.",
        )
    with Client(home) as client:
        details: list[data.RunDetail] = [client.ask(GetRun(detail)) for detail in wanted]
        data_answers = [] if args.recipe else differing_data(client, details, MANY if args.data else FEW)
    names = [detail.row.name for detail in details]
    differing = compare_runs.differences(compare_runs.settings_of(details))
    outcomes = [] if args.recipe else compare_runs.outcomes(details, time.time())
    trades = compare_runs.trades(details)
    if args.json:
        front = [names[number] for number in compare_runs.front(trades)]
        results = plain({"differences": differing, "outcomes": outcomes, "trades": trades})
        print_json({"runs": names, **results, "front": front, "data": plain(data_answers)})
        return 0
    if args.data:
        print_data(details, data_answers)
        return 0
    print_comparison(details, differing, outcomes)
    if not args.recipe:
        print()
        print_data(details, data_answers)
    return 0


def print_comparison(
    details: list[data.RunDetail],
    differing: Sequence[compare_runs.Difference],
    outcomes: Sequence[compare_runs.Outcome],
) -> None:
    """Print the differences and the results, a column for each run; letters stand for names that have no room."""
    heads = [detail.row.name for detail in details]
    settings = [(difference.key, *difference.values) for difference in differing]
    results = [outcome_cells(outcome) for outcome in outcomes]
    room = terminal_width()
    titled = [(title, *heads) for title in (DIFFERS, RESULTS)]
    tables = zip(titled, (settings, results), strict=True)
    if room is not None and any(
        rows and total_width(widths_of([head, *rows])) > room for head, rows in tables
    ):
        for letter, name in zip(LETTERS, heads, strict=False):
            print(f"{letter}  {clean_line(name)}")
        heads = list(LETTERS[: len(heads)])
    if settings:
        print_beside(DIFFERS, heads, settings)
    else:
        print("Their recipes are the same.")
    if results:
        print()
        print_beside(RESULTS, heads, results)
        for why in compare_runs.why_no_best(outcomes):
            print(why)
        print(f"\n{compare_runs.front_sentence(details, heads)}")


def print_beside(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a column for each run; on a terminal, those that don't fit have a table of their own below."""
    room = terminal_width()
    widths = widths_of([(title, *heads), *rows])
    start = 1
    while start < len(widths):
        end = start + 1
        while end < len(widths) and (
            room is None or total_width([widths[0], *widths[start : end + 1]]) <= room
        ):
            end += 1
        print_table((title, *heads[start - 1 : end - 1]), [(row[0], *row[start:end]) for row in rows])
        start = end


def differing_data(client: Client, details: list[data.RunDetail], examples: int) -> list[DataDifferAnswer]:
    """Request how the data of each run differ from the first's; empty if all have read the same data."""
    if data_versions.same_data([run.sources for run in details]):
        return []
    first, *others = (run.row.name for run in details)
    return [client.ask(DataDiffer(first, other, examples)) for other in others]


def outcome_cells(outcome: compare_runs.Outcome) -> tuple[str, ...]:
    marks = [" *" if at in outcome.best else "" for at in range(len(outcome.cells))]
    return outcome.label, *map(str.__add__, outcome.cells, marks)


def print_data(details: Sequence[data.RunDetail], answers: Sequence[DataDifferAnswer]) -> None:
    """Print how the data of each run differ from the first's, or that they don't."""
    if not answers:
        print(data_versions.same_line(details[0].sources))
    for answer, letter in zip(answers, LETTERS[1:], strict=False):
        first, other = clean_line(answer.run), clean_line(answer.other)
        print(f"how the data of {first} (A) and {other} ({letter}) differ")
        for kind, text in data_versions.differ_lines(answer, "A", letter, details):
            print(f"    {kind} {text}" if kind in ("-", "+") else f"  {'  ' if kind else ''}{text}")


PLUGIN = Command("compare runs: differences and results", "compare", run, arguments, is_remote=False)
