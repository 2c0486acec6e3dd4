"""`finetop pause RUN…`: save a checkpoint, exit, and wait in the queue until `finetop resume RUN`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.commands.shared import several
from finetop.core.protocol.messages.queue import Pause
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser, "name or number of a run that is training, being checked or waiting")


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    return several.order(args, homes, Pause)


PLUGIN = several.command("save a checkpoint and put a run back into the queue", "run", arguments, run_several)
