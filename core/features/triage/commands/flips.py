"""`finetop flips RUN`: the items on which base and tuned model differ, with both answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import colour, options
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import BadInput
from finetop.core.features.triage.messages import LostItems
from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.messages.checks import Flips
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, counted
from finetop.core.wording.units import decimals
from finetop.core.wording.verdicts import outdated

LONGEST = 200  # characters shown of a question or an answer


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number")
    parser.add_argument("--task", default="", help="only this task")
    options.value(parser, "--check", "N", "from this check (default: the newest)", type=options.count)
    parser.add_argument("--kind", default="", help="only items of this kind, as `finetop triage` names it")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--lost", dest="only", action="store_const", const="lost", help="only lost items")
    way.add_argument("--won", dest="only", action="store_const", const="won", help="only won items")
    about = "only items whose gold answer is at least this far from the best other answer of the tuned model"
    options.value(parser, "--margin", "NATS", about, type=float, default=0.0)
    about = "only items lost in N runs of this base"
    options.value(parser, "--in-runs", "N", about, type=options.count, default=0)
    options.limit(parser, 50)


def run(args: argparse.Namespace, home: Home) -> int:
    if args.kind or args.margin or args.in_runs or (args.check is None and (args.only or not args.json)):
        return print_filtered(args, home)
    answer = ask_once(home, Flips(args.run, args.check, args.task))
    flips = [flip for flip in answer.flips if not args.only or flip.won == (args.only == "won")]
    if args.json:
        print_json({"check_id": answer.check_id, "flips": [facts(flip) for flip in flips]})
        return 0
    won = sum(flip.won for flip in answer.flips)
    check = "the newest check" if args.check is None else f"check {args.check}"
    print(f"{len(answer.flips) - won} lost, {won} won in {check} of {args.run}")
    for flip in flips[: args.limit]:
        print_item(flip)
    if len(flips) > args.limit:
        print(f"… {len(flips) - args.limit} more: --limit {len(flips)}")
    return 0


def print_filtered(args: argparse.Namespace, home: Home) -> int:
    """Print the items that a filter leaves of the check that decided the run's verdict. Raises BadInput."""
    if args.check is not None:
        hint = "They filter the check that decided the run's verdict."
        raise BadInput("--check can't be combined with --kind, --margin or --in-runs.", hint=hint)
    if not 0 <= args.margin < 1e6:
        raise BadInput(f"--margin is {args.margin}; it must be 0 or more nats.")
    limits = {"margin": args.margin, "runs": args.in_runs, "limit": args.limit}
    answer = ask_once(home, LostItems(args.run, args.task, args.kind, args.only or "", **limits))
    if args.json:
        items = [item_facts(item) for item in answer.items]
        document = {"check_id": answer.check_id, "matching": answer.matching, "items": items}
        print_json({**document, "weights_now": answer.weights_now})
        return 0
    if answer.weights_now != "same":
        print(outdated(clean_line(args.run), answer.weights_now))
    changed = answer.lost + answer.won
    print(f"{answer.matching} of {changed} changed items in the deciding check of {args.run}")
    for item in answer.items:
        print_item(item)
    if answer.matching > len(answer.items):
        print(f"… {answer.matching - len(answer.items)} more: --limit {answer.matching}")
    return 0


def print_item(item: Flip) -> None:
    """Print an item: the question, the gold answer, and each model's answer."""
    kind = "won" if item.won else "lost"
    also = f", lost in {counted(item.also, 'other run')}" if item.also else ""
    category = f", {clean_line(item.category)}" if item.category else ""
    print()
    colour.write(kind, colour.tone(kind))
    print(f"  {clean_line(item.task)} {clean_line(item.item)}{category}{also}")
    for label, text, log_prob in (
        ("asked", item.question, None),
        ("gold", item.gold, None),
        ("base", item.base_answer, item.base_log_prob),
        ("tuned", item.tuned_answer, item.tuned_log_prob),
    ):
        if not text:
            continue
        aside = "" if log_prob is None else f"   (log p {decimals(log_prob, 2)})"
        line = clean_line(text)
        print(f"  {label:<6} {line if len(line) <= LONGEST else line[:LONGEST] + '…'}{aside}")


ALWAYS_KEYS = ("task", "item", "won", "base_answer", "tuned_answer")
PROBABILITIES = ("base_log_prob", "tuned_log_prob")
OPTIONAL_KEYS = ("question", "gold", *PROBABILITIES, "base_margin", "tuned_margin", "since")


def facts(flip: Flip) -> dict[str, Any]:
    """Return a flip's keys of --json."""
    scores = {"base_score": flip.base, "tuned_score": flip.tuned}
    return _values(flip, ALWAYS_KEYS) | scores | _values(flip, PROBABILITIES)


def _values(flip: Flip, keys: Iterable[str]) -> dict[str, Any]:
    return {key: getattr(flip, key) for key in keys}


def item_facts(item: Flip) -> dict[str, Any]:
    """Return the --json keys of a filtered item; unknown ones are left out."""
    known = {"kind": item.category, **_values(item, OPTIONAL_KEYS), "also": item.also or None}
    known = {key: value for key, value in known.items() if value not in ("", None)}
    return _values(item, ALWAYS_KEYS) | known


PLUGIN = Command("list the items that changed: question, gold answer, both answers", "check", run, arguments)
