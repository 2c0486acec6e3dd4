"""`finetop rm RUN…`: move runs to the home's trash, having said what goes."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands.shared import args as shared_args
from finetop.core.commands.shared.output import agreed, plain, print_json, print_table
from finetop.core.protocol.messages.trash import Remove, Removed
from finetop.core.runtime.home import Home
from finetop.core.text import counted
from finetop.core.wording.units import size_word

ABOUT = "move runs to the trash: rows, logs, checkpoints"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="name or number")
    shared_args.yes(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        going = client.ask(Remove(args.runs, only_show=True))
        total = sum(one.size_bytes for one in going.runs)
        if not args.json:
            print_table(
                ("run", "number", "checkpoints", "files", "size"),
                [line(one) for one in going.runs],
                right=(1, 2, 3, 4),
            )
        words = f"{counted(len(going.runs), 'run')}, {size_word(total)}"
        if not agreed(args, f"Move {words} to the trash?"):
            print("Nothing was done.")
            return 1
        client.ask(Remove([str(one.run_id) for one in going.runs]))
    if args.json:
        print_json({"removed": plain(going.runs), "size_bytes": total})
    else:
        print(f"{words} in the trash. Back: finetop trash --restore RUN; for good: finetop trash --empty")
    return 0


def line(one: Removed) -> tuple[str, ...]:
    return one.name, str(one.run_id), str(one.checkpoints), str(one.files), size_word(one.size_bytes)
