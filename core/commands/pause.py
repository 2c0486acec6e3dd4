"""`finetop pause RUN…`: save a checkpoint, exit, and wait in the queue until `finetop resume RUN`."""

from __future__ import annotations

import argparse

from finetop.core.commands.shared import several
from finetop.core.protocol.messages.queue import Pause


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser, "name or number of a run that is training, being checked or waiting")


PLUGIN = several.command(
    "save a checkpoint and put a run back into the queue",
    "run",
    arguments,
    lambda args, homes: several.order(args, homes, Pause),
)
