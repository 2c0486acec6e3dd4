"""Models in a recipe that are runs: `run:NAME`, `run:NAME@STEP`, and in a chain `stage:NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import BadInput
from finetop.core.recipe.dotted import flat_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["run", "stage"]
KINDS: tuple[Kind, ...] = ("run", "stage")
MODELS = ("model", "teacher")  # settings of an objective that name a model


@dataclass(frozen=True)
class Reference:
    """A run by its name or number, or a stage of the same chain; without a step, its best or newest checkpoint."""

    kind: Kind
    name: str
    step: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" + ("" if self.step is None else f"@{self.step}")


def is_reference(text: str) -> bool:
    """Return True if a model is a run or a stage, not a hub id or a folder."""
    return text.partition(":")[0] in KINDS and ":" in text


def parse(text: str, key: str) -> Reference:
    """Parse a reference. Raises BadInput that names the setting `key`."""
    kind, _, rest = text.partition(":")
    name, at, step = rest.partition("@")
    if kind not in KINDS or not name or (at and not (step.isdecimal() and len(step) < 10)):
        hint = f"Write {kind if kind in KINDS else 'run'}:NAME, or run:NAME@STEP for a checkpoint of its own."
        raise BadInput(f"{key}: {text[:100]!r} names no run.", hint=hint)
    return Reference("stage" if kind == "stage" else "run", name, int(step) if at else None)


def references(recipe: Mapping[str, Any]) -> dict[str, Reference]:
    """Return the models of a resolved recipe that are runs or stages, by dotted key. Raises BadInput."""
    texts = {key: text for key, text in _models(recipe) if isinstance(text, str) and is_reference(text)}
    return {key: parse(text, key) for key, text in texts.items()}


def _models(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "model.id", recipe["model"]["id"]
    for key, value in flat_settings(recipe["objective"], "objective", of_item=None):
        if key.rpartition(".")[2] in MODELS:
            yield key, value
