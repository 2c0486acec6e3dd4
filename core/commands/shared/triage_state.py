"""How verbs say how a regression is seen: shared by `triage` and `accept`."""

from __future__ import annotations

import argparse
import getpass

from finetop.core.client.connection import ask_once
from finetop.core.commands.shared.output import plain, print_json
from finetop.core.protocol.messages.triage import SetStanding, Standing
from finetop.core.runtime.home import Home


def own_name() -> str:
    """Name the user, as regressions are looked at and accepted by somebody."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, in a container
        return ""


def say(home: Home, args: argparse.Namespace, standing: Standing) -> int:
    """Keep how a regression of args.run, of args.task where one is named, is seen; and say so."""
    answer = ask_once(home, SetStanding(args.run, args.task, standing))
    if args.json:
        print_json(
            {"run": args.run, "task": args.task, "message": answer.message, "before": plain(answer.before)}
        )
    else:
        print(answer.message)
    return 0
