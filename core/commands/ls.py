"""`finetop ls`: the runs, as the app lists them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from finetop.core import protocol, run as data
from finetop.core.client import Client
from finetop.core.commands import machines, numbers
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
from finetop.core.remote.merging import Merged, bare

ABOUT = "list the runs and whether they forgot"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", help="part of a name, model, method or tag")
    parser.add_argument(
        "--sort",
        choices=("needs_you", "newest", "name", "loss"),
        default="needs_you",
        help="what comes first",
    )
    parser.add_argument("--limit", type=numbers.count, default=50, metavar="N", help="at most this many rows")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        page: protocol.RunsAnswer = client.ask(protocol.Runs(args.filter, args.sort, 0, args.limit))
    if args.json:
        print_json(
            {
                "runs": plain(page.rows),
                "matching": page.matching,
                "total": page.total,
                "stopped": page.stopped,
            }
        )
        return 0
    if not page.total:
        print(
            f"No runs yet in {home.shown}. `finetop demo` shows one that forgets; `finetop run RECIPE` starts yours."
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
        if page.stopped:
            print(f"Nothing starts: {page.stopped}.")
    return 0


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    """List the runs of several machines as one, with a column for the machine.

    Exit code 4 where one of them did not answer: stderr has said which.
    """
    merged = Merged([home.label for home in homes])
    found, missing = machines.ask_all(homes, protocol.Runs(args.filter, args.sort, 0, args.limit))
    for label, page in found.items():
        merged.take(label, page)
    stopped = {label: page.stopped for label, page in found.items() if page.stopped}
    rows = merged.rows(args.sort)[: args.limit]
    if args.json:
        print_json(
            {
                "runs": plain(rows),
                "matching": merged.matching,
                "total": merged.total,
                "stopped": stopped,
                "missing": missing,
            }
        )
    elif rows:
        print_table(
            ("host", "run", "how", "state", "step", "loss", "left/age", "did it forget?"),
            [(row.host, *line(msgspec.structs.replace(row, name=bare(row)))) for row in rows],
            right=(4, 5, 6),
        )
        if merged.matching > len(rows):
            print(f"… {merged.matching - len(rows)} more: --limit {merged.matching}")
        for label, why in stopped.items():
            print(f"Nothing starts on {label}: {why}.")
    else:
        print(f"None of {merged.total} runs matches {args.filter!r}." if merged.total else "No runs yet.")
    return 4 if missing else 0


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
        row.said or answer_words(row),
    )
