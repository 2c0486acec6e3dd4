"""`finetop resume RUN[@STEP]…`: continue the same run from a checkpoint; --set prints what a change means."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

from finetop.core.client.connection import Client
from finetop.core.client.remote.recipe_files import require_files
from finetop.core.commands.shared import options, several
from finetop.core.commands.shared.follow import Progress, exit_code, until_over
from finetop.core.commands.shared.options import run_and_step
from finetop.core.commands.shared.output import plain, state_words
from finetop.core.errors import FinetopError
from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Resume, ResumeAnswer
from finetop.core.protocol.runs import RunRow
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home
from finetop.core.wording.jobs import answer_words


def arguments(parser: argparse.ArgumentParser) -> None:
    about = "runs that have ended; from the newest checkpoint, or from STEP"
    options.value(parser, "runs", "RUN[@STEP]", about, nargs="+")
    options.settings(parser, "change one setting: train.epochs=4")
    options.flag(parser, "--anyway", "even if data changed or later checkpoints would be removed")
    options.wait(parser)


def run_several(args: argparse.Namespace, homes: Sequence[Home]) -> int:
    def resume(run: str, home: Home) -> tuple[Home, ResumeAnswer]:
        name, step = run_and_step(run)
        with Client(home) as client:
            recipe = recipe_with(client.ask(GetRun(name)).recipe, args.set, home) if args.set else None
            queued = client.ask(Resume(name, step, recipe, args.anyway))
        if not args.json:
            print_resumed(queued)
        return home, queued

    outcomes, code = several.each(args, homes, resume)
    last: dict[str, RunRow] = {}
    if args.wait:
        for run, outcome in outcomes:
            if not isinstance(outcome, FinetopError):
                last[run] = followed(*outcome, args.json)
                code = max(code, 1 if last[run].not_resumed else exit_code(last[run]))
    if args.json:
        documents: list[tuple[str, dict[str, object] | FinetopError]] = []
        for run, outcome in outcomes:
            if isinstance(outcome, FinetopError):
                documents.append((run, outcome))
            else:
                ended = {"run": plain(last[run])} if run in last else {}
                documents.append((run, {"resumed": plain(outcome[1]), **ended}))
        several.print_outcomes(documents, dict)
    return code


def followed(home: Home, queued: ResumeAnswer, json: bool) -> RunRow:
    """Follow a run to its end, and return its last row."""
    last = until_over(home, queued.run, (lambda new: None) if json else Progress())
    if not json:
        print(f"{last.name}: {state_words(last)}  {last.not_resumed or answer_words(last)}".rstrip())
    return last


def recipe_with(recipe: dict[str, Any], sets: list[str], home: Home) -> dict[str, Any]:
    """Apply settings to a run's recipe. Raises RecipeError for an invalid one or a missing file."""
    alone = {**recipe, "extends": None}  # the recipe is already resolved
    loaded = resolve_text(msgspec.json.encode(alone).decode(), sets, label="the run's recipe")
    return {**require_files(loaded, home), "extends": recipe.get("extends")}


def print_resumed(queued: ResumeAnswer) -> None:
    """Print from where the run resumes, and the changed settings."""
    how = job_kinds.of(queued.what).resumes(queued.step)
    print(f"{queued.run} {how}, place {queued.place}. Follow it: finetop tail {queued.run}")
    for change in queued.changes:
        print(f"  {change}")


PLUGIN = several.command("resume a run from one of its checkpoints", "run", arguments, run_several)
