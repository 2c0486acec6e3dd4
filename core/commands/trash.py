"""`finetop trash`: list removed runs; --restore RUN restores one, --empty deletes them for good."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import agreed, plain, print_json, print_table
from finetop.core.protocol.messages.trash import EmptyTrash, Restore, Trash, TrashAnswer
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import ago
from finetop.core.wording.units import size_word


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--restore", metavar="RUN", help="restore this run, by name or number")
    options.flag(group, "--empty", "delete everything in the trash for good")
    options.yes(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        if args.restore:
            done = client.ask(Restore(args.restore))
            print_json({"message": done.message}) if args.json else print(done.message)
            return 0
        found = client.ask(Trash())
        if not args.json:
            show(found)
        if not args.empty:
            if args.json:
                print_json({"trash": plain(found.runs)})
            return 0
        size = size_word(sum(one.size_bytes for one in found.runs))
        if found.runs and not agreed(args, f"Delete {len(found.runs)} for good, {size}?"):
            print("Nothing was done.")
            return 1
        done = client.ask(EmptyTrash([one.folder for one in found.runs]))
    print_json({"message": done.message}) if args.json else print(done.message)
    return 0


def show(found: TrashAnswer) -> None:
    if not found.runs:
        print("The trash is empty.")
        return
    rows = [
        (one.name, str(one.run_id), size_word(one.size_bytes), f"{ago(one.at)} ago") for one in found.runs
    ]
    print_table(("run", "number", "size", "removed"), rows, right=(1, 2, 3))


PLUGIN = Command("list removed runs, restore them, or delete them for good", "maintenance", run, arguments)
