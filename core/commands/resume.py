"""`finetop resume RUN[@STEP]`: go on from a checkpoint, in the same run; --set shows what a change means."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from finetop.core.client.connection import Client
from finetop.core.client.remote.recipe_files import require_files
from finetop.core.commands.shared import args as shared_args
from finetop.core.commands.shared.args import run_and_step
from finetop.core.commands.shared.follow import Progress, exit_code, until_over
from finetop.core.commands.shared.output import answer_words, plain, print_json, state_words
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Resume, ResumeAnswer
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home

ABOUT = "go on with a run from one of its checkpoints"
ANYWHERE = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN[@STEP]", help="a run that has ended; the newest checkpoint, or STEP's"
    )
    shared_args.settings(parser, "change one setting: train.epochs=4")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="also with changed data, and where later checkpoints are removed",
    )
    shared_args.wait(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    name, step = run_and_step(args.run)
    with Client(home) as client:
        recipe = changed(client.ask(GetRun(name)).recipe, args.set, home) if args.set else None
        queued = client.ask(Resume(name, step, recipe, args.anyway))
    if not args.json:
        tell(queued)
    if not args.wait:
        if args.json:
            print_json({"resumed": plain(queued)})
        return 0
    last = until_over(home, queued.run, (lambda new: None) if args.json else Progress())
    if args.json:
        print_json({"resumed": plain(queued), "run": plain(last)})
    else:
        print(f"{last.name}: {state_words(last)}  {last.said or answer_words(last)}".rstrip())
    return 1 if last.said else exit_code(last)


def changed(recipe: dict[str, Any], sets: list[str], home: Home) -> dict[str, Any]:
    """Lay settings over a run's recipe. Raises RecipeError for one that can't be, or a file that is not there."""
    alone = {**recipe, "extends": None}  # it is resolved already
    loaded = resolve_text(msgspec.json.encode(alone).decode(), sets, label="the run's recipe")
    return {**require_files(loaded, home), "extends": recipe.get("extends")}


def tell(queued: ResumeAnswer) -> None:
    """Say from where the run goes on, and what was changed."""
    where = f"from step {queued.step}" if queued.step else "from its beginning: it has no checkpoint yet"
    print(f"{queued.run} goes on {where}, place {queued.place}. Follow it: finetop tail {queued.run}")
    for change in queued.changes:
        print(f"  {change}")
