"""`finetop rebuild`: rebuild the database from the run folders; the old one is kept beside it."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys

import msgspec

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared.output import print_json, warn
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, NoSupervisor
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.runtime.home import Home, is_made, prepare


def run(args: argparse.Namespace, home: Home) -> int:
    if not is_made(home):
        hint = "Give --home or FINETOP_HOME the folder that holds the runs."
        raise BadInput(f"there is no home at {home.root}: nothing to read.", hint=hint)
    prepare(home)
    with contextlib.suppress(NoSupervisor), Client(home, start=False) as client:
        client.ask(Shutdown())  # jobs keep running; the next command starts a supervisor on the new database
    made = subprocess.run(
        [sys.executable, "-m", "finetop.core.supervisor.rebuild.rebuild", "--home", str(home.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        lines = made.stderr.strip().splitlines() or ["it ended without a message."]
        raise {2: BadInput, 4: EnvironmentTrouble}.get(made.returncode, FinetopError)(lines[-1])
    told = msgspec.json.decode(made.stdout)
    if args.json:
        print_json(told)
        return 1 if told["left_out"] else 0
    print(f"{told['runs']} runs, {told['jobs']} jobs, {told['events']} events read from {home.runs}")
    if told["kept_as"]:
        print(f"the old database is kept as {told['kept_as']}")
    for line in told["left_out"]:
        warn(f"left out: {line}")
    return 1 if told["left_out"] else 0


PLUGIN = Command("rebuild the database from the run folders", "maintenance", run, is_remote=False)
