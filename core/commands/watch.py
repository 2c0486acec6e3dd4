"""`finetop watch FOLDER|PID`: watch a training that was started without finetop, then check what it made."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from finetop.core.client.connection import ask_once
from finetop.core.client.remote.recipe_files import portable_recipe
from finetop.core.commands import Command
from finetop.core.commands.run import follow_run
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_json
from finetop.core.external.program import program_of
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.protocol.messages.machine import FindProgram
from finetop.core.protocol.messages.submit import Watch
from finetop.core.protocol.runs import WATCHED
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    options.path(parser, "target", "FOLDER|PID", "the folder that it writes to, or its process id")
    options.settings(parser, "change one setting: check.general.suite=quick, check.at_end=false")
    options.name(parser, "name of the run")
    options.of_command(parser)
    options.wait(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    target = args.target if args.target.isdecimal() else os.path.abspath(Path(args.target).expanduser())  # noqa: PTH100
    program = program_of(target) if home.link is None else ask_once(home, FindProgram(target))
    here = Path(program.workdir) if home.link is not None else Path.cwd()  # what the paths typed start from
    request = CommandRequest(
        tuple(program.command),
        here,
        workdir=program.workdir,
        output=str(here / given_path(args.output)) if args.output else program.output,
        base=args.base or "",
        metrics=tuple(path_typed(text, here) for text in args.metrics),
        objective=WATCHED,
    )
    loaded = command_recipe(request, [*args.set, *options.name_set(args)])
    name = loaded.recipe.name
    queued = ask_once(
        home, Watch(portable_recipe(loaded, home), loaded.text, name, program.pid, program.start, program.log)
    )
    if args.wait:
        return follow_run(args, home, queued.name)
    if args.json:
        print_json({"run": queued.name, "run_id": queued.run_id, "pid": program.pid, "log": program.log})
        return 0
    until = f"until process {program.pid} ends"
    if not program.pid:
        until = "until nothing new has come for 10 minutes: no process of yours writes to it"
    print(f"{queued.name} is watched {until}. Follow it: finetop tail {queued.name}")
    return 0


def path_typed(metrics: str, folder: Path) -> str:
    """Return --metrics KIND:PATH with the path of a file that is in a folder, else as it is: of the program's own."""
    kind, mark, path = metrics.partition(":")
    if kind == "pattern":
        return metrics
    return f"{kind}:{folder / path}" if mark and path and (folder / path).exists() else metrics


PLUGIN = Command("watch a training that was started without finetop, then check it", "run", run, arguments)
