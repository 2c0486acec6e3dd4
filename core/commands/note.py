"""`finetop note RUN TEXT`: write a run's note; without TEXT, print it."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import plain, reply
from finetop.core.protocol.messages.notes import Note, NoteAnswer
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number")
    options.value(parser, "text", "TEXT", 'the note; "" deletes it', nargs="*")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        if args.text:
            answer = client.ask(Note(args.run, " ".join(args.text)))
        else:
            detail = client.ask(GetRun(args.run))
            answer = NoteAnswer(detail.row.name, detail.row.note, detail.row.note)
    return reply(args, plain(answer), f"{answer.run}: {answer.note or 'no note'}")


PLUGIN = Command("write or read a run's note", "organise", run, arguments)
