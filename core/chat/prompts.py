"""Prompts at hand for a chat: the recipe's own, the rows of the target's test file, and what a check lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from finetop.core.data import sources
from finetop.core.data.formats import Conversation
from finetop.core.data.hub import is_local
from finetop.core.errors import FinetopError
from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.messages.chat import ChatPrompt
from finetop.core.recipe.load import recipe_from_resolved

NOT_HERE = (".parquet",)  # its reader would take 100 MB of the supervisor's memory


def of_recipe(recipe: Mapping[str, Any]) -> list[ChatPrompt]:
    """Return the prompts that a recipe samples answers to."""
    texts = (recipe.get("samples") or {}).get("prompts") or ()
    system = (recipe.get("ask") or {}).get("system") or ""
    return [ChatPrompt("recipe", f"prompt {place}", text, system) for place, text in enumerate(texts, 1)]


def of_test(resolved: dict[str, Any], limit: int) -> list[ChatPrompt]:
    """Read the first rows of the target's test file; of one that can't be read those before the fault."""
    target = recipe_from_resolved(resolved).check.target
    if target is None or not is_local(target.path) or Path(target.path).suffix in NOT_HERE:
        return []
    system = (resolved.get("ask") or {}).get("system") or ""
    readable: list[ChatPrompt] = []
    with suppress(FinetopError, OSError):
        for prompt in islice(_of_rows(sources.stream(target.source, None), system), limit):
            readable.append(prompt)
    return readable


def _of_rows(rows: Iterable[sources.Row], system: str) -> Iterator[ChatPrompt]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row.record, Conversation):
            return
        own = "\n\n".join(turn.content for turn in row.record.prompt if turn.role == "system")
        turns = [turn for turn in row.record.prompt if turn.role != "system"]
        if len(turns) == 1:  # a chat puts one prompt at a time
            texts = (turns[0].content, own or system, row.record.answer)
            yield ChatPrompt("test", f"row {number}", *texts)


def of_lost(flips: Iterable[Flip], limit: int) -> list[ChatPrompt]:
    """Return the items that a check lost, as the model was asked them."""
    lost = (flip for flip in flips if not flip.won)
    return [
        ChatPrompt("lost", f"{flip.task} item {flip.item}", flip.question, expected=flip.gold, raw=True)
        for flip in islice(lost, limit)
    ]
