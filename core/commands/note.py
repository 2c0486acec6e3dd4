"""`finetop note RUN TEXT`: write a run's note; without TEXT, print it."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.protocol.messages.notes import Note, NoteAnswer
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number")
    parser.add_argument("text", nargs="*", metavar="TEXT", help='the note; "" deletes it')


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        if args.text:
            answer = client.ask(Note(args.run, " ".join(args.text)))
        else:
            detail = client.ask(GetRun(args.run))
            answer = NoteAnswer(detail.row.name, detail.row.note, detail.row.note)
    if args.json:
        print_json(plain(answer))
    else:
        print(f"{answer.run}: {answer.note or 'no note'}")
    return 0


PLUGIN = Command("write or read a run's note", "organise", run, arguments)
