"""`finetop tag RUN +a -b`: add and remove a run's tags."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, reply
from finetop.core.errors import BadInput
from finetop.core.protocol.messages.notes import Tag
from finetop.core.protocol.tags import read_tags
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number; options go before it")
    about = "+keep adds a tag, -draft removes it"
    options.value(parser, "tags", "+TAG|-TAG", about, nargs=argparse.REMAINDER)


def run(args: argparse.Namespace, home: Home) -> int:
    add, drop = read_tags(args.tags)
    if not add and not drop:
        raise BadInput("which tags?", hint=f"finetop tag {args.run} +keep -draft")
    answer = ask_once(home, Tag(args.run, list(add), list(drop)))
    return reply(args, plain(answer), f"{answer.run}: {' '.join(answer.tags) or 'no tags'}")


PLUGIN = Command("add tags to a run (+a) or remove them (-b)", "organise", run, arguments)
