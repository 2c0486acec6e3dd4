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
from finetop.core.plan import ahead, inputs
from finetop.core.plan.estimate import Known, estimate
from finetop.core.plan.machine import as_measured, look
from finetop.core.plan.rehearsal import Rehearsal
from finetop.core.plan.result import Asked, Shown
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.runtime.home import Home


def main() -> int:
    os.nice(5)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    home = Home(Path(sys.argv[1]))
    recipe = recipe_from_resolved(asked.recipe, "the form")
    try:
        looked = ahead.before(recipe, ahead.Looker(home))
        problems = looked.told()
        if trouble := next((one.message for one in problems if one.key != ahead.ROOM), ""):
            say(Shown(trouble=trouble, problems=problems))
            return 0
        found = inputs.find_config(recipe.model, home)
        machine = look(home.root, use_gpu=recipe.budget.gpus != 0)
        known = Known(looked.lengths, past_runs(home), note=found.note)
        say(Shown(plan=estimate(recipe, found.config, machine, known), problems=problems))
        if asked.row:
            say(Shown(row=[] if looked.lengths is None else list(looked.lengths.row)))
        if asked.rehearse:
            moving = Rehearsal(recipe, found.file, machine).answer()
            machine = as_measured(machine)
            known = replace(known, trainable=moving.trainable, still_experts=moving.experts)
            say(Shown(plan=estimate(recipe, found.config, machine, known), problems=problems))
    except FinetopError as error:
        say(Shown(trouble=error.message))
    return 0


def say(shown: Shown) -> None:
    print(msgspec.json.encode(shown).decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
