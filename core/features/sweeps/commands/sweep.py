"""`finetop sweep [NAME]`: the runs of a sweep by settings, with mean and spread over the seeds."""

from __future__ import annotations

import argparse
import textwrap

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_columns, print_json, print_table
from finetop.core.features.sweeps import columns, seed_groups, selection_curve
from finetop.core.protocol.messages.runs import Sweeps, SweepsAnswer
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line


def arguments(parser: argparse.ArgumentParser) -> None:
    options.optional(parser, "sweep", "NAME", "default: list all sweeps")


def run(args: argparse.Namespace, home: Home) -> int:
    answer = ask_once(home, Sweeps(args.sweep))
    if args.json:
        curves = selection_curve.read(answer)
        print_json({**plain(answer), **({} if curves is None else {"curves": plain(curves)})})
    elif (curves := selection_curve.read(answer)) is not None:
        print_curves(curves)
    elif args.sweep:
        print_sweep(answer)
    elif not answer.sweeps:
        print("No sweeps yet. Queue one: finetop run RECIPE --sweep train.learning_rate=1e-5,2e-5 --seeds 3")
    else:
        rows = [(row.name, str(row.runs), str(row.finished), str(row.to_come)) for row in answer.sweeps]
        print_table(("sweep", "runs", "finished", "pending"), rows, right=(1, 2, 3))
    return 0


def print_curves(curves: selection_curve.Curves) -> None:
    """Print a row for each selector and number of rows, and the conclusions."""
    print_columns(columns.curve(), curves.cells)
    better = "lower" if curves.is_lower_better else "higher"
    print()
    note = f"target: {clean_line(curves.metric, limit=60)}, {better} is better. ± is half of a 95 % interval over seeds"
    note += "; against random they are paired by seed."
    for sentence in (note, "", *selection_curve.sentences(curves)):
        print("\n".join(textwrap.wrap(sentence, 80, break_on_hyphens=False)))


def print_sweep(answer: SweepsAnswer) -> None:
    """Print a row for each setting."""
    settings = seed_groups.settings(answer.runs, answer.keys)
    print_columns(columns.table(answer.keys, settings), settings)
    if any(len(group.runs) > 1 for group in settings):
        print("± is the standard deviation over the seeds that have finished.")


ABOUT = "show a sweep: eval loss, target and retained, mean and spread over seeds"
PLUGIN = Command(ABOUT, "compare", run, arguments)
