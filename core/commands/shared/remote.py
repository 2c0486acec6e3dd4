"""Run a verb on other machines: which verbs can, which machine a RUN is on, and one request to all of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from finetop.core.client.connection import ask_once
from finetop.core.client.remote.connect import open_homes
from finetop.core.client.remote.merge_runs import at
from finetop.core.commands import Command, Where
from finetop.core.commands.shared.output import warn
from finetop.core.errors import BadInput, NoSupervisor, NotFound
from finetop.core.protocol.messages.runs import GetRun, Runs
from finetop.core.protocol.request import Ask
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, listed


def run_on(command: Command, verb: str, args: argparse.Namespace, where: Where) -> int:
    """Run a verb on the machines named: on several at once if it can, else where its RUN is found. Raises BadInput."""
    if not command.is_remote:
        hint = f"Run it there: ssh {clean_line(where.on[0], limit=80)} finetop {verb} …"
        raise BadInput(f"finetop {verb} works on the local machine only.", hint=hint)
    with open_homes(where.on, home=where.home, command=where.remote_command) as homes:
        if (len(homes) > 1 or "runs" in args) and command.run_several is not None:
            return command.run_several(args, homes)
        home = homes[0]
        if "run" in args and args.run:
            home, args.run = find_run(args.run, homes)
        elif len(homes) > 1:
            hint = f"Name one: --on {clean_line(where.on[0], limit=80)}"
            raise BadInput(f"finetop {verb} works on one machine at a time.", hint=hint)
        return command.run(args, home)


def find_run(run: str, homes: Sequence[Home]) -> tuple[Home, str]:
    """Return the machine of RUN or HOST:RUN, and the run's name there. Raises NotFound, BadInput, NoSupervisor."""
    label, colon, rest = run.partition(":")
    named = [home for home in homes if home.label == label]
    if len(homes) == 1:
        return homes[0], rest if colon and named else run
    if colon and named:
        if _is_away(named[0]):
            raise NoSupervisor(f"can't reach {label}; nothing was done.")
        return named[0], rest
    unreachable = [home.label for home in homes if _is_away(home)]
    reachable = [home for home in homes if not _is_away(home)]
    owners = [home for home in reachable if _has(home, run.partition("@")[0])]
    if not owners:
        where = listed([home.label for home in reachable])
        text = f"there is no run {clean_line(run, limit=80)!r} on {where}"
        if unreachable:
            raise NoSupervisor(f"{text}, and {listed(unreachable)} can't be reached.")
        raise NotFound(f"{text}.", hint="See `finetop ls`.")
    hint = f"Say which: {owners[0].label}:{run}."
    if unreachable and len(owners) == 1:
        others = f"{listed(unreachable)} may have one too, but can't be reached"
        raise BadInput(f"{run} is on {owners[0].label}, and {others}.", hint=hint)
    if len(owners) > 1:
        raise BadInput(f"{run} is on {listed([home.label for home in owners])}.", hint=hint)
    return owners[0], run


def _has(home: Home, run: str) -> bool:
    """Return True if a machine has the run."""
    try:
        ask_once(home, GetRun(run))
    except (NotFound, BadInput, NoSupervisor):
        return False
    return True


def _is_away(home: Home) -> bool:
    return home.link is not None and not home.link.is_up


def ask_all(homes: Sequence[Home], ask: Ask) -> tuple[dict[str, Any], list[str]]:
    """Send one request to several machines. Returns the answers by machine, and the machines without one (see stderr).

    One that refuses (no run there has a metric of that name) is left out. Raises BadInput if all that answer refuse.
    """
    answers: dict[str, Any] = {}
    missing, refused = [], []
    for home in homes:
        if _is_away(home):
            missing.append(home.label)
            continue
        try:
            answers[home.label] = ask_once(home, at(ask, home.label) if isinstance(ask, Runs) else ask)
        except NoSupervisor as error:
            warn(str(error))
            missing.append(home.label)
        except BadInput as error:
            refused.append(error)
    if refused and not answers:
        raise refused[0]
    return answers, missing
