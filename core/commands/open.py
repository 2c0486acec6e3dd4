"""`finetop open RUN`: open the app at one run."""

from __future__ import annotations

import argparse

from finetop.core.client.connection import ask_once
from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN", "its name or number")


def run(args: argparse.Namespace, home: Home) -> int:
    if args.json:
        raise BadInput("finetop open shows a run in the app; it has no --json.", hint="See `finetop show`.")
    if args.open_app is None:
        hint = f"`finetop show {args.run}` prints the run."
        raise EnvironmentTrouble("the app is not available here.", hint=hint)
    detail = ask_once(home, GetRun(args.run))
    return int(args.open_app([home], detail.row.name))


PLUGIN = Command("open one run in the app", "watch", run, arguments)
