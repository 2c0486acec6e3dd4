"""`finetop sweep [NAME]`: the runs of a sweep by their settings, seeds put together as mean and spread."""

from __future__ import annotations

import argparse

from finetop.core import protocol, repeats
from finetop.core.client import Client
from finetop.core.commands.output import answer_words, plain, print_json, print_table
from finetop.core.home import Home
from finetop.core.text import clean_line

ABOUT = "what came of a sweep: loss, target and retained, as mean and spread over its seeds"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", nargs="?", default="", metavar="NAME", help="without it, all sweeps")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        found: protocol.SweepsAnswer = client.ask(protocol.Sweeps(args.sweep))
    if args.json:
        print_json({**plain(found)})
    elif args.sweep:
        tell(found)
    elif not found.sweeps:
        print("No sweeps yet. Queue one: finetop run RECIPE --sweep train.learning_rate=1e-5,2e-5 --seeds 3")
    else:
        rows = [(one.name, str(one.runs), str(one.finished), str(one.to_come)) for one in found.sweeps]
        print_table(("sweep", "runs", "finished", "to come"), rows, right=(1, 2, 3))
    return 0


def tell(found: protocol.SweepsAnswer) -> None:
    """Print a row for each setting; where all seeds have one answer to "did it forget?", that too."""
    keys = found.keys
    rows = []
    for one in repeats.settings(found.runs, keys):
        answers = {answer_words(run) for run in one.runs if run.check is not None}
        verdicts = ", ".join(f"{count} {word}" for count, _, word in repeats.verdicts(one.runs))
        answer = answers.pop() if len(one.runs) == 1 and answers else verdicts
        values = one.values if keys else (clean_line(one.runs[0].name),)
        rows.append(
            (
                *(clean_line(value, limit=40) for value in values),
                f"{one.finished}/{len(one.runs)}",
                repeats.words(repeats.spread(one.runs, repeats.loss), 3),
                repeats.words(repeats.spread(one.runs, repeats.target), 2),
                repeats.words(repeats.spread(one.runs, repeats.retained), 1, sign=True),
                answer,
            )
        )
    titles = keys or ["run"]
    number = len(titles)
    print_table(
        (*titles, "done", "loss", "target", "retained", "did it forget?"),
        rows,
        right=(number, number + 1, number + 2, number + 3),
    )
    if any(len(one.runs) > 1 for one in repeats.settings(found.runs, keys)):
        print("± is the standard deviation over the seeds that have finished.")
