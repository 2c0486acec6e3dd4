"""What an objective builds its trainer from: the recipe, the model and rows that are ready, and who listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.examples import AnyExample
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home


@dataclass
class Setup:
    """A run that is about to train."""

    recipe: Recipe
    base: ResolvedModel
    tokenizer: PreTrainedTokenizerBase
    model: Any  # a transformers model, or a PEFT model around one
    dtype: str
    device: str
    run_folder: Path
    home: Home
    events: EventLog
    train: Sequence[AnyExample]
    eval: Sequence[AnyExample]
    arguments: dict[str, Any]  # what every trainer of transformers is told
    hooks: list[Any] = field(default_factory=list)  # its callbacks
    optimizer: Any = None  # None: the one that arguments name
