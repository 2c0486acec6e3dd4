"""`finetop ls`: the runs, as the app lists them."""

from __future__ import annotations

import argparse

from finetop.core import protocol
from finetop.core import run as data
from finetop.core.client import Client
from finetop.core.commands.output import (
    ago,
    answer_words,
    number,
    plain,
    print_json,
    print_table,
    span,
    state_words,
)
from finetop.core.home import Home

ABOUT = "list the runs and whether they forgot"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", help="part of a name, model, method or tag")
    parser.add_argument(
        "--sort",
        choices=("needs_you", "newest", "name", "loss"),
        default="needs_you",
        help="what comes first",
    )
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most this many rows")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        page: protocol.RunsAnswer = client.ask(protocol.Runs(args.filter, args.sort, 0, args.limit))
    if args.json:
        print_json({"runs": plain(page.rows), "matching": page.matching, "total": page.total})
        return 0
    if not page.total:
        print(
            f"No runs yet in {home.root}. `finetop demo` shows one that forgets; `finetop run RECIPE` starts yours."
        )
    elif not page.rows:
        print(f"None of {page.total} runs matches {args.filter!r}.")
    else:
        print_table(
            ("run", "how", "state", "step", "loss", "left/age", "did it forget?"),
            [line(row) for row in page.rows],
            right=(3, 4, 5),
        )
        if page.matching > len(page.rows):
            print(f"… {page.matching - len(page.rows)} more: --limit {page.matching}")
    return 0


def line(row: data.RunRow) -> tuple[str, ...]:
    state = row.state
    if isinstance(state, data.Queued):
        when = ""
    elif isinstance(state, data.Running):
        when = "" if row.left_s is None else span(row.left_s)
    else:
        when = ago(state.ended)
    steps = f"{row.step}/{row.steps}" if row.steps else str(row.step)
    return (
        row.name,
        row.method,
        state_words(row),
        steps,
        number(row.metrics.get("loss")),
        when,
        answer_words(row),
    )
