"""`finetop flips RUN`: the items on which base and tuned model differ, with both answers."""

from __future__ import annotations

import argparse

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands import numbers
from finetop.core.commands.output import number, plain, print_json, print_table
from finetop.core.home import Home

ABOUT = "the items that changed, with both answers"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number")
    parser.add_argument("--task", default="", help="only this task")
    parser.add_argument(
        "--check", type=numbers.count, default=None, metavar="N", help="of this check (else the newest)"
    )
    parser.add_argument("--limit", type=numbers.count, default=50, metavar="N", help="at most this many rows")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        found: protocol.FlipsAnswer = client.ask(protocol.Flips(args.run, args.check, args.task))
    if args.json:
        print_json({"check_id": found.check_id, "flips": plain(found.flips)})
        return 0
    won = sum(flip.won for flip in found.flips)
    print(f"{len(found.flips) - won} lost, {won} won in check {found.check_id} of {args.run}")
    if found.flips:
        print_table(
            ("", "task", "item", "base said", "log p", "tuned said", "log p"),
            [line(flip) for flip in found.flips[: args.limit]],
            right=(4, 6),
        )
    if len(found.flips) > args.limit:
        print(f"… {len(found.flips) - args.limit} more: --limit {len(found.flips)}")
    return 0


def line(flip: protocol.FlipRow) -> tuple[str, ...]:
    return (
        "won" if flip.won else "lost",
        flip.task,
        flip.item,
        flip.base_answer[:40],
        number(flip.base_log_prob, 2),
        flip.tuned_answer[:40],
        number(flip.tuned_log_prob, 2),
    )
