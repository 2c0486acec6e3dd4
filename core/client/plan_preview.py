"""The process that looks ahead for a form before a run is queued.

    python -m finetop.core.client.plan_preview HOME < {"recipe": …, "row": true}

It writes a line of JSON as soon as each thing is known: a Shown with the plan, one with the first row, and last, where
`rehearse` asks for it, the plan again once the job's own code has agreed and counted. What is refused is said in place
of what would have come. Nothing is downloaded; the tokenizer is used without torch, which a process of its own loads.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from finetop.core.client.past_runs import past_runs
from finetop.core.errors import FinetopError
from finetop.core.preflight.plan import inputs, lengths
from finetop.core.preflight.plan.estimate import Known, estimate
from finetop.core.preflight.plan.first_row import first_row
from finetop.core.preflight.plan.machine import Machine, look
from finetop.core.preflight.plan.rehearsal import Rehearsal
from finetop.core.preflight.plan.result import Asked, Shown
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.home import Home


def main() -> int:
    os.nice(5)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    home = Home(Path(sys.argv[1]))
    recipe = recipe_from_mapping(asked.recipe, "the form")
    try:
        found = inputs.find_config(recipe.model, home)
    except FinetopError as error:
        say(Shown(trouble=error.message))
        return 0
    known = Known(past=past_runs(home))
    try:
        known = replace(known, lengths=lengths.measure(recipe, found.folder))
        say(planned(recipe, found, home, known))
        if asked.row:
            say(Shown(row=first_row(recipe, found.folder)))
        if asked.rehearse:
            say(planned(recipe, found, home, rehearsed(recipe, found, home, known)))
    except FinetopError as error:
        say(Shown(trouble=error.message))
    return 0


def say(shown: Shown) -> None:
    print(msgspec.json.encode(shown).decode(), flush=True)


def planned(recipe: Recipe, found: inputs.Found, home: Home, known: Known) -> Shown:
    return Shown(plan=estimate(recipe, found.config, machine_of(recipe, home), known))


def rehearsed(recipe: Recipe, found: inputs.Found, home: Home, known: Known) -> Known:
    """Add what the job's own code counts, in some seconds. Raises FinetopError for what it would refuse."""
    device = "cuda" if machine_of(recipe, home).device == "gpu" else "cpu"
    moving = Rehearsal(recipe, found.file, device).answer()
    return replace(known, trainable=moving.trainable, still_experts=moving.experts)


def machine_of(recipe: Recipe, home: Home) -> Machine:
    """Look at this machine, without its GPUs where the recipe wants none."""
    return look(home.root, use_gpu=False) if recipe.budget.gpus == 0 else look(home.root)


if __name__ == "__main__":
    sys.exit(main())
