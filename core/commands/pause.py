"""`finetop pause RUN`: save a checkpoint, exit, and wait in the queue until `finetop resume RUN`."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import Client
from finetop.core.commands.shared.output import print_json
from finetop.core.protocol.messages.queue import Pause
from finetop.core.runtime.home import Home

ABOUT = "let a run wait in the queue, after saving a checkpoint"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number of a run that trains, is checked or waits")


def run(args: argparse.Namespace, home: Home) -> int:
    with Client(home) as client:
        done = client.ask(Pause(args.run))
    print_json({"message": done.message}) if args.json else print(done.message)
    return 0
