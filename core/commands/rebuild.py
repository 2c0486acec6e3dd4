"""`finetop rebuild`: rebuild the database from the run folders; the old one is kept beside it."""

from __future__ import annotations

import argparse
import contextlib
import subprocess

import msgspec

from finetop.core.client.connection import Client
from finetop.core.commands import Command
from finetop.core.commands.shared.output import print_json, warn
from finetop.core.errors import BadInput, NoSupervisor, of_code
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.runtime.home import Home, is_made, prepare
from finetop.core.runtime.parts import require
from finetop.core.runtime.processes import python


def run(args: argparse.Namespace, home: Home) -> int:
    if not is_made(home):
        hint = "Give --home or FINETOP_HOME the folder that holds the runs."
        raise BadInput(f"there is no home at {home.root}: nothing to read.", hint=hint)
    require("duckdb")
    prepare(home)
    with contextlib.suppress(NoSupervisor), Client(home, start=False) as client:
        client.ask(Shutdown())  # jobs keep running; the next command starts a supervisor on the new database
    command = python("finetop.core.supervisor.rebuild.rebuild", "--home", str(home.root))
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["it ended without a message."]
        raise of_code(process.returncode, lines[-1])
    result = msgspec.json.decode(process.stdout)
    if args.json:
        print_json(result)
        return 1 if result["left_out"] else 0
    print(f"{result['runs']} runs, {result['jobs']} jobs, {result['events']} events read from {home.runs}")
    if result["kept_as"]:
        print(f"the old database is kept as {result['kept_as']}")
    for line in result["left_out"]:
        warn(f"left out: {line}")
    return 1 if result["left_out"] else 0


PLUGIN = Command("rebuild the database from the run folders", "maintenance", run, is_remote=False)
