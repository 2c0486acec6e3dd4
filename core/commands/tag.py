"""`finetop tag RUN +a -b`: add and remove a run's tags."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.errors import BadInput
from finetop.core.protocol.messages.notes import Tag
from finetop.core.protocol.tags import read_tags
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number; options go before it")
    parser.add_argument(
        "tags", nargs=argparse.REMAINDER, metavar="+TAG|-TAG", help="+keep adds a tag, -draft removes it"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    add, drop = read_tags(args.tags)
    if not add and not drop:
        raise BadInput("which tags?", hint=f"finetop tag {args.run} +keep -draft")
    answer = ask_once(home, Tag(args.run, list(add), list(drop)))
    if args.json:
        print_json(plain(answer))
    else:
        print(f"{answer.run}: {' '.join(answer.tags) or 'no tags'}")
    return 0


PLUGIN = Command("add tags to a run (+a) or remove them (-b)", "organise", run, arguments)
