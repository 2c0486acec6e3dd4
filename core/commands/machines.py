"""Runs a verb on other machines: which verbs can, and which machine a RUN is on."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import TYPE_CHECKING

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.errors import BadInput, NoSupervisor, NotFound
from finetop.core.remote.connecting import opened
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.commands.main import Where
    from finetop.core.home import Home


def run_on(module: ModuleType, verb: str, args: argparse.Namespace, where: Where) -> int:
    """Run a verb on the machines that are named.

    A verb's module says by `ANYWHERE` that it does all through a supervisor; with `run_several(args, homes)` it takes
    several machines at once, else the machine of its RUN is found. Raises BadInput.
    """
    if not getattr(module, "ANYWHERE", False):
        raise BadInput(
            f"finetop {verb} works on the machine that it is started on.",
            hint=f"Run it there: ssh {clean_line(where.on[0], limit=80)} finetop {verb} …",
        )
    with opened(where.on, home=where.home, command=where.remote_command) as homes:
        several = getattr(module, "run_several", None)
        if len(homes) > 1 and several is not None:
            return int(several(args, homes))
        home = homes[0]
        if getattr(args, "run", None):
            home, args.run = find(args.run, homes)
        elif len(homes) > 1:
            raise BadInput(
                f"finetop {verb} works on one machine at a time.",
                hint=f"Name one: --on {clean_line(where.on[0], limit=80)}",
            )
        return int(module.run(args, home))


def find(run: str, homes: Sequence[Home]) -> tuple[Home, str]:
    """Find which machine RUN or HOST:RUN is on. Raises BadInput where several have it, NotFound where none has."""
    label, colon, rest = run.partition(":")
    named = [home for home in homes if home.label == label]
    if colon and named:
        return named[0], rest
    if len(homes) == 1:
        return homes[0], run
    having = [home for home in homes if _has(home, run.partition("@")[0])]
    if not having:
        raise NotFound(
            f"there is no run {clean_line(run, limit=80)!r} on {_list([home.label for home in homes])}.",
            hint="See `finetop ls`.",
        )
    if len(having) > 1:
        raise BadInput(
            f"{run} is on {_list([home.label for home in having])}.",
            hint=f"Say which: {having[0].label}:{run}.",
        )
    return having[0], run


def _has(home: Home, run: str) -> bool:
    """Ask a machine whether it has the run; one that is out of reach is passed over, having been told of."""
    if home.link is not None and not home.link.is_up:
        return False
    try:
        with Client(home) as client:
            client.ask(protocol.GetRun(run))
    except (NotFound, BadInput, NoSupervisor):
        return False
    return True


def _list(labels: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))
