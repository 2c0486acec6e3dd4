"""`finetop accept RUN [TASK] --reason TEXT`: accept a known regression, so that the run no longer needs attention."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared import triage_state
from finetop.core.protocol.messages.triage import Standing
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name or number of a run that has regressed")
    parser.add_argument("task", nargs="?", default="", metavar="TASK", help="only this task of the run")
    parser.add_argument(
        "--reason", required=True, metavar="TEXT", help="reason for accepting; shown with the run"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    return triage_state.record(
        home, args, Standing("accepted", triage_state.own_name(), reason=args.reason.strip())
    )


PLUGIN = Command("accept a regression, with a reason", "fix", run, arguments)
