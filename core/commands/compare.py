"""`finetop compare RUN RUN …`: what differs in their recipes, what came out, which no other betters."""

from __future__ import annotations

import argparse
import time

from finetop.core import comparing, protocol, run as data
from finetop.core.client import Client
from finetop.core.commands.output import plain, print_json, print_table
from finetop.core.errors import BadInput
from finetop.core.home import Home

ABOUT = "runs side by side: what differs, what came out"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="names or numbers, two or more")
    parser.add_argument("--recipe", action="store_true", help="only what differs in their recipes")


def run(args: argparse.Namespace, home: Home) -> int:
    wanted = list(dict.fromkeys(args.runs))
    if not 2 <= len(wanted) <= comparing.MOST:
        raise BadInput(
            f"finetop compare takes 2 to {comparing.MOST} different runs, not {len(wanted)}.",
            hint="Name them: finetop compare RUN RUN.",
        )
    with Client(home) as client:
        found: list[data.RunDetail] = [client.ask(protocol.GetRun(one)) for one in wanted]
    names = [one.row.name for one in found]
    differing = comparing.differences([one.recipe for one in found])
    outcomes = [] if args.recipe else comparing.outcomes(found, time.time())
    trades = comparing.trades(found)
    if args.json:
        print_json(
            {
                "runs": names,
                "differences": plain(differing),
                "outcomes": plain(outcomes),
                "trades": plain(trades),
                "front": [names[number] for number in comparing.front(trades)],
            }
        )
        return 0
    if differing:
        print_table(("what differs", *names), [(one.key, *one.values) for one in differing])
    else:
        print("Their recipes are the same.")
    if outcomes:
        print()
        rows = [
            (row.label, *(f"{cell}{' *' if at in row.best else ''}" for at, cell in enumerate(row.cells)))
            for row in outcomes
        ]
        print_table(("what came out (* best)", *names), rows)
        print(f"\n{comparing.front_sentence(found, names)}")
    return 0
