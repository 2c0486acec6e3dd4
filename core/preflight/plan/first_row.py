"""The first row of a recipe's data as the model will see it, by the code that training uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetop.core.data import files, formats, sources
from finetop.core.errors import BadInput
from finetop.core.plugins import OBJECTIVES
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetop.core.recipe.schema import Recipe

LONGEST = 4000  # characters of it that are shown


def first_row(recipe: Recipe, folder: Path) -> list[tuple[str, bool]]:
    """Render the first row of the data as the model will see it, by the code that training uses.

    Of rows that are no conversations, and of a model without a tokenizer.json here, nothing. Raises FinetopError.
    """
    record = _first_record(recipe)
    if not isinstance(record, formats.Conversation) or recipe.model.trust_remote_code:
        return []
    if not (folder / "tokenizer.json").is_file():
        return []
    from jinja2.exceptions import TemplateError

    from finetop.core.data.render import render
    from finetop.core.models.load import read_template
    from finetop.core.preflight.fast_tokenizer import LightTokenizer

    try:
        tokenizer = LightTokenizer(folder, read_template(recipe.model.chat_template))
    except TemplateError as error:
        raise BadInput(
            f"{recipe.model.chat_template or folder}: the chat template can't be read: {clean_line(str(error))}"
        ) from error
    loss = getattr(recipe.objective.options, "loss", "answers")
    rendered = render(record, cast("PreTrainedTokenizerBase", tokenizer), loss, "row 1")
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
        if source.path is None or not files.is_there(Path(source.path)):
            return None
        return next(sources.stream(source, None, kinds)).record
    return None
