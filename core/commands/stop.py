"""`finetop stop RUN`: save a checkpoint, then exit; a queued run leaves the queue."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands.shared.output import print_json
from finetop.core.protocol.messages.queue import Stop
from finetop.core.runtime.home import Home

ABOUT = "stop a run after saving a checkpoint"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        done = client.ask(Stop(args.run))
    print_json({"message": done.message}) if args.json else print(done.message)
    return 0
