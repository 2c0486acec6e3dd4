"""`finetop kill RUN…`: end the whole process tree of a run at once; what is not in a checkpoint is lost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetop.core.commands.shared import args as shared_args, several
from finetop.core.protocol.messages.queue import Kill
from finetop.core.runtime.home import Home
from finetop.core.wording.endings import kill_asking


def arguments(parser: argparse.ArgumentParser) -> None:
    several.arguments(parser)
    shared_args.yes(parser)


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    return several.order(args, homes, Kill, kill_asking)


PLUGIN = several.command("end a run at once, without a checkpoint", "run", arguments, run_several)
