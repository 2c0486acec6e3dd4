"""`finetop trash`: list removed runs; --restore RUN restores one, --empty deletes them for good."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import agreed, plain, print_json, print_table, reply
from finetop.core.protocol.messages.trash import EmptyTrash, Restore, Trash, TrashAnswer
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import ago
from finetop.core.wording.units import size_word


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    options.value(group, "--restore", "RUN", "restore this run, by name or number")
    options.flag(group, "--empty", "delete everything in the trash for good")
    options.yes(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        if args.restore:
            done = client.ask(Restore(args.restore))
            return reply(args, plain(done), done.message)
        answer = client.ask(Trash())
        if not args.json:
            print_trash(answer)
        if not args.empty:
            if args.json:
                print_json({"trash": plain(answer.runs)})
            return 0
        size = size_word(sum(removed.size_bytes for removed in answer.runs))
        if answer.runs and not agreed(args, f"Delete {len(answer.runs)} for good, {size}?"):
            print("Nothing was done.")
            return 1
        done = client.ask(EmptyTrash([removed.folder for removed in answer.runs]))
    return reply(args, plain(done), done.message)


def print_trash(answer: TrashAnswer) -> None:
    if not answer.runs:
        print("The trash is empty.")
        return
    rows = [
        (run.name, str(run.run_id), size_word(run.size_bytes), f"{ago(run.at)} ago") for run in answer.runs
    ]
    print_table(("run", "number", "size", "removed"), rows, right=(1, 2, 3))


PLUGIN = Command("list removed runs, restore them, or delete them for good", "maintenance", run, arguments)
