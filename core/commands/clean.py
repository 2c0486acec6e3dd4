"""`finetop clean`: show which checkpoints and caches the home's policy would delete; --yes deletes them.

The policy is in HOME/settings.yaml (see core/recipe/home_settings.py); an option overrides it for one call.
"""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, print_json, print_table
from finetop.core.errors import BadInput
from finetop.core.protocol.messages.trash import Clean, CleanAnswer
from finetop.core.runtime.home import Home
from finetop.core.wording.units import size_word

ABOUT = "show old checkpoints, merged models, scores and data to delete; --yes deletes them"
OPTIONS = {
    "last": ("N", "checkpoints: keep the newest N of each run"),
    "best": ("N", "checkpoints: also keep the N with the lowest eval_loss"),
    "days": ("D", "checkpoints: delete those of runs that ended D days ago, except the newest and best"),
    "total_gib": ("G", "checkpoints: delete the oldest until all take at most G GiB"),
    "merged_days": ("D", "delete merged models not used for D days"),
    "scores_days": ("D", "delete item scores and document indexes not used for D days"),
    "datasets_days": ("D", "delete hub data sets not used for D days"),
    "selected_days": ("D", "delete rows selected for a curve that no run uses, not used for D days"),
    "trash_days": ("D", "permanently delete runs that have been in the trash for D days"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    for name, (unit, text) in OPTIONS.items():
        options.value(parser, f"--{name.replace('_', '-')}", unit, f"{text} ('none': no limit)")
    options.yes(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    keep = {name: limit_of(name, getattr(args, name)) for name in OPTIONS if getattr(args, name) is not None}
    with Client(home) as client:
        answer = client.ask(Clean(keep))
        if not args.json:
            print_items(answer)
        if args.yes and answer.items:
            answer = client.ask(Clean(keep, [item.path for item in answer.items]))
    total = sum(item.size_bytes for item in answer.items)
    if args.json:
        print_json({"items": plain(answer.items), "size_bytes": total, "done": args.yes})
    elif args.yes:
        print(f"{len(answer.items)} deleted, {size_word(total)}.")
    elif answer.items:
        print(f"{size_word(total)} can be deleted: finetop clean --yes with the same options.")
    return 0


def limit_of(name: str, text: str) -> float | int | None:
    """Read an option's number. Raises BadInput."""
    if text == "none":
        return None
    try:
        return int(text) if name in ("last", "best") else float(text)
    except ValueError:
        raise BadInput(
            f"--{name.replace('_', '-')} is {text[:40]!r}; it must be a number or none.", hint="See --help."
        ) from None


def print_items(answer: CleanAnswer) -> None:
    if not answer.items:
        print("Nothing to clean.")
        return
    rows = [(item.kind, item.what, size_word(item.size_bytes), item.why) for item in answer.items]
    print_table(("what", "", "size", "why"), rows, right=(2,))


PLUGIN = Command(ABOUT, "maintenance", run, arguments)
