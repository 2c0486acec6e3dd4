"""The process that looks ahead for a form before a run is queued, and for a client on another machine.

    python -m finetop.core.client.plan_preview HOME < {"recipe": …, "row": true}

It writes a line of JSON as soon as each thing is known: a Shown with the plan, one with the first row, and last, where
`rehearse` asks for it, the plan again once the job's own code has agreed and counted. What the job would end with is
said in place of what would have come, in its words and by its setting. Nothing is downloaded; the tokenizer is used
without torch, which a process of its own loads.
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
