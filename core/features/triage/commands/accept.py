"""`finetop accept RUN [TASK] --reason TEXT`: accept a known regression, so that the run no longer needs you."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.features.triage.triage_state import record
from finetop.core.protocol.standing import Standing
from finetop.core.runtime.home import Home
from finetop.core.runtime.user import user_name


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "name or number of a run that has regressed")
    options.optional(parser, "task", "TASK", "only this task of the run")
    options.value(parser, "--reason", "TEXT", "reason for accepting; shown with the run", required=True)


def run(args: argparse.Namespace, home: Home) -> int:
    return record(home, args, Standing("accepted", user_name(), reason=args.reason.strip()))


PLUGIN = Command("accept a regression, with a reason", "fix", run, arguments)
