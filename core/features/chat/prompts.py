"""Prompts for a chat: the recipe's own, the rows of the target's test file, and what a check lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from finetop.core.data import source_record, sources
from finetop.core.data.formats import Conversation, Kind
from finetop.core.data.hub import is_local
from finetop.core.errors import FinetopError
from finetop.core.features.chat.messages import ChatPrompt, lost_item
from finetop.core.protocol.check_result import Flip
from finetop.core.recipe.load import recipe_from_resolved

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Source

MOST_READ = 200  # rows of each source, where training recorded no system prompt
NOT_HERE = (".parquet",)  # its reader would take 100 MB of the supervisor's memory


def of_recipe(recipe: Mapping[str, Any]) -> list[ChatPrompt]:
    """Return the prompts that a recipe samples answers to."""
    texts = (recipe.get("samples") or {}).get("prompts") or ()
    return [ChatPrompt("recipe", f"prompt {place}", text) for place, text in enumerate(texts, 1)]


def trained_system(resolved: Mapping[str, Any], recorded: str | None) -> str:
    """Return the system prompt that a run was trained with: its recipe's, then that of most of its rows.

    `recorded` is what training wrote down of the rows; None: nothing, so its first file of rows is read.
    """
    return _joined(resolved, _of_first_rows(resolved) if recorded is None else recorded)


def _joined(resolved: Mapping[str, Any], own: str) -> str:
    """Return the recipe's system prompt with a row's own behind it, as in training."""
    return "\n\n".join(filter(None, ((resolved.get("ask") or {}).get("system"), own)))


def _of_first_rows(resolved: Mapping[str, Any]) -> str:
    """Return the system prompt of the first rows of a run's training file; empty if they can't be read here."""
    rows: list[sources.Row] = []
    with suppress(FinetopError, OSError):
        for source in recipe_from_resolved(resolved).data.train:
            if source.role == "train" and _is_here(source):
                rows.extend(islice(sources.stream(source, None, get_args(Kind)), MOST_READ))
    return source_record.common_system([row.record for row in rows])


def _is_here(source: Source) -> bool:
    path = source.path
    return path is not None and is_local(path) and Path(path).suffix not in NOT_HERE


def of_test(resolved: dict[str, Any], limit: int) -> list[ChatPrompt]:
    """Read the first rows of the target's test file; of one that can't be read those before the fault."""
    target = recipe_from_resolved(resolved).check.target
    if target is None or not _is_here(target.source):
        return []
    readable: list[ChatPrompt] = []
    with suppress(FinetopError, OSError):
        for prompt in islice(_of_rows(sources.stream(target.source, None), resolved), limit):
            readable.append(prompt)
    return readable


def _of_rows(rows: Iterable[sources.Row], resolved: Mapping[str, Any]) -> Iterator[ChatPrompt]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row.record, Conversation):
            return
        own = "\n\n".join(turn.content for turn in row.record.prompt if turn.role == "system")
        turns = [turn for turn in row.record.prompt if turn.role != "system"]
        if len(turns) == 1:  # a chat puts one prompt at a time
            texts = (turns[0].content, _joined(resolved, own), row.record.answer)
            yield ChatPrompt("test", f"row {number}", *texts)


def of_lost(flips: Iterable[Flip], limit: int) -> list[ChatPrompt]:
    """Return the items that a check lost, as the model was asked them."""
    lost = (flip for flip in flips if not flip.won)
    return [
        lost_item(flip.task, flip.item, flip.question, flip.gold, len(flip.choices))
        for flip in islice(lost, limit)
    ]
