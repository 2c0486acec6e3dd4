"""`finetop kill RUN…`: end the whole process tree of a run at once; what is not in a checkpoint is lost."""

from __future__ import annotations

import argparse

from finetop.core.commands.shared import args as shared_args, several
from finetop.core.protocol.messages.queue import Kill
from finetop.core.wording.endings import kill_asking


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser)
    shared_args.yes(parser)


PLUGIN = several.command(
    "end a run at once, without a checkpoint",
    "run",
    arguments,
    lambda args, homes: several.order(args, homes, Kill, kill_asking),
)
