"""`finetop accept RUN [TASK] --reason TEXT`: accept a known regression, so that the run no longer needs attention."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared import options, triage_state
from finetop.core.protocol.messages.triage import Standing
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number of a run that has regressed")
    options.optional(parser, "task", "TASK", "only this task of the run")
    options.value(parser, "--reason", "TEXT", "reason for accepting; shown with the run", required=True)


def run(args: argparse.Namespace, home: Home) -> int:
    standing = Standing("accepted", triage_state.own_name(), reason=args.reason.strip())
    return triage_state.record(home, args, standing)


PLUGIN = Command("accept a regression, with a reason", "fix", run, arguments)
