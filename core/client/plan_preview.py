"""The process that checks and plans a run ahead of queueing, for a form or for a client on another machine.

    python -m finetop.core.client.plan_preview HOME < {"recipe": …, "row": true}

It writes one line of JSON as soon as each result is known: a Shown with the plan, one with the first row, and last, if
`rehearse` requests it, the plan again once the job's own code has accepted the recipe and counted its parameters. An
error that the job would end with takes the place of the result, with its message and setting. Nothing is downloaded;
the tokenizer runs without torch, which only a separate process loads.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from finetop.core.client.past_runs import past_runs
from finetop.core.errors import FinetopError
from finetop.core.models import rehearsed
from finetop.core.models.resolved import Moving
from finetop.core.plan import ahead, inputs
from finetop.core.plan.estimate import estimate
from finetop.core.plan.machine import as_measured, read_machine
from finetop.core.plan.rehearsal import Rehearsal
from finetop.core.plan.result import PlanRequest, Shown
from finetop.core.plan.workload import Known
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.child import write_line
from finetop.core.runtime.home import Home
from finetop.core.runtime.parts import explain_missing


def main() -> int:
    os.nice(5)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=PlanRequest)
    home = Home(Path(sys.argv[1]))
    recipe = recipe_from_resolved(request.recipe, "the form")
    try:
        with explain_missing():
            preview(request, recipe, home)
    except FinetopError as error:
        write_line(Shown(trouble=error.message))
    return 0


def preview(request: PlanRequest, recipe: Recipe, home: Home) -> None:
    """Write the results as they are known. Raises FinetopError."""
    preflight = ahead.check_before_queue(recipe, ahead.RunChecker(home), rehearse=not request.rehearse)
    problems = preflight.as_data()
    if trouble := next((problem.message for problem in problems if problem.key != ahead.ROOM), ""):
        write_line(Shown(trouble=trouble, problems=problems))
        return
    model_config = inputs.find_config(recipe.model, home)
    machine = read_machine(home.root, use_gpu=recipe.budget.gpus != 0)
    shape = rehearsed.shape_of(recipe, model_config.file, home)
    known = Known(preflight.lengths, past_runs(home), moving=Moving(shape=shape), note=model_config.note)
    write_line(Shown(plan=estimate(recipe, model_config.config, machine, known), problems=problems))
    if request.row:
        write_line(Shown(row=[] if preflight.lengths is None else list(preflight.lengths.row)))
    if request.rehearse:
        moving = Rehearsal(recipe, model_config.file, machine, home).answer()
        machine = as_measured(machine)
        known = replace(known, moving=moving)
        write_line(Shown(plan=estimate(recipe, model_config.config, machine, known), problems=problems))


if __name__ == "__main__":
    sys.exit(main())
