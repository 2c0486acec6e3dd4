"""`finetop stop RUN…`: save a checkpoint, then exit; a queued run leaves the queue."""

from __future__ import annotations

import argparse

from finetop.core.commands.shared import args as shared_args, several
from finetop.core.protocol.messages.queue import Stop
from finetop.core.wording.endings import stop_asking


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser)
    shared_args.yes(parser)


PLUGIN = several.command(
    "stop a run after saving a checkpoint",
    "run",
    arguments,
    lambda args, homes: several.order(args, homes, Stop, stop_asking),
)
