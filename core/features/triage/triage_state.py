"""Record how a regression is triaged: shared by `triage` and `accept`."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands.shared.output import plain, reply
from finetop.core.features.triage.messages import SetStanding
from finetop.core.protocol.standing import Standing
from finetop.core.runtime.home import Home


def record(home: Home, args: argparse.Namespace, standing: Standing) -> int:
    """Record the triage state of a regression of args.run, or of args.task if one is named, and print it."""
    answer = ask_once(home, SetStanding(args.run, args.task, standing))
    return reply(args, {"run": args.run, "task": args.task, **plain(answer)}, answer.message)
