"""The process that looks ahead for a form before a run is queued.

    python -m finetop.core.client.plan_preview HOME < {"recipe": …, "row": true}

It writes a line of JSON as soon as each thing is known: a Shown with the plan, then one with the first row.
Nothing is downloaded; of transformers the tokenizer alone is used, without torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from finetop.core.client.past_runs import past_runs
from finetop.core.data import formats
from finetop.core.data.jsonl import stream_rows
from finetop.core.errors import FinetopError
from finetop.core.plugins import OBJECTIVES
from finetop.core.preflight.plan import inputs, lengths
from finetop.core.preflight.plan.estimate import Known, estimate
from finetop.core.preflight.plan.machine import Machine, look
from finetop.core.preflight.plan.result import Asked, Shown
from finetop.core.preflight.plan.schedule import PastRun
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.home import Home

LONGEST = 4000  # characters of the first row that are shown


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
    say(planned(recipe, found, home, past_runs(home)))
    if asked.row:
        try:
            say(Shown(row=first_row(recipe, found.folder)))
        except FinetopError as error:
            say(Shown(row=[], trouble=error.message))
    return 0


def say(shown: Shown) -> None:
    print(msgspec.json.encode(shown).decode(), flush=True)


def planned(recipe: Recipe, found: inputs.Found, home: Home, past: Sequence[PastRun]) -> Shown:
    """Make the plan; where that can't be, say why."""
    try:
        known = Known(lengths.measure(recipe, found.folder), past)
        return Shown(plan=estimate(recipe, found.config, machine_of(recipe, home), known))
    except FinetopError as error:
        return Shown(trouble=error.message)


def machine_of(recipe: Recipe, home: Home) -> Machine:
    """Look at this machine, without its GPUs where the recipe wants none."""
    return look(home.root, use_gpu=False) if recipe.budget.gpus == 0 else look(home.root)


def first_row(recipe: Recipe, folder: Path) -> list[tuple[str, bool]]:
    """Render the first row of the data as the model will see it, by the code that training uses.

    Of rows that are no conversations, and of a model whose tokenizer is not here, nothing. Raises FinetopError.
    """
    record = _first_record(recipe)
    if not isinstance(record, formats.Conversation) or recipe.model.trust_remote_code:
        return []
    if not (folder / "tokenizer_config.json").is_file():
        return []
    os.environ["USE_TORCH"] = "0"  # the tokenizer needs none of it, and it takes seconds to import
    from finetop.core.data.render import render
    from finetop.core.models.load import load_tokenizer, read_template
    from finetop.core.models.resolved import ResolvedModel

    template = read_template(recipe.model.chat_template)
    tokenizer = load_tokenizer(
        ResolvedModel(recipe.model.id, folder, None, None, "", "", chat_template=template)
    )
    rendered = render(record, tokenizer, getattr(recipe.objective.options, "loss", "answers"), "row 1")
    pieces: list[tuple[str, bool]] = []
    at = 0
    for start, end in rendered.learned:
        pieces += [(rendered.text[at:start], False), (rendered.text[start:end], True)]
        at = end
    return [
        (text[:LONGEST], is_learned) for text, is_learned in [*pieces, (rendered.text[at:], False)] if text
    ]


def _first_record(recipe: Recipe) -> formats.Record | None:
    kinds = tuple(getattr(OBJECTIVES.load(recipe.objective.name), "ROWS", ("conversation",)))
    for source in recipe.data.train[:1]:
        if source.path is None or not Path(source.path).is_file():
            return None
        for line, row in stream_rows(Path(source.path)):
            place = f"{Path(source.path).name}:{line}"
            name = formats.detect(row, place, kinds) if source.format == "auto" else source.format
            return formats.read(row, place, name, kinds)
    return None


if __name__ == "__main__":
    sys.exit(main())
