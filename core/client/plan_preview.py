"""The process that looks ahead for a form before a run is queued.

    python -m finetop.core.client.plan_preview HOME < {"recipe": …, "row": true}

It writes a line of JSON as soon as each thing is known: a Shown with the plan, then one with the first row.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from finetop.core.client.past_runs import past_runs
from finetop.core.errors import FinetopError
from finetop.core.preflight.plan import inputs, preview
from finetop.core.preflight.plan.preview_messages import Asked, Shown
from finetop.core.recipe.load import recipe_from_mapping
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
    say(preview.planned(recipe, found, home, past_runs(home)))
    if asked.row:
        try:
            say(Shown(row=preview.first_row(recipe, found.folder)))
        except FinetopError as error:
            say(Shown(row=[], trouble=error.message))
    return 0


def say(shown: Shown) -> None:
    print(msgspec.json.encode(shown).decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
