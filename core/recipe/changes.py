"""What it means to change a recipe in the middle of its run: each change in words, and those that can't be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.recipe.dotted import nearest
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# By the longest key that a setting begins with: why it can't change once a run has begun.
FIXED = {
    "recipe": "it is the version of the format",
    "name": "a run keeps its name",
    "model": "the run has begun from it",
    "method": "the weights that move are in the checkpoint",
    "objective.name": "the run has begun to learn from it",
    "objective.teacher": "the run has begun to learn from it",
    "train.optimizer": "the checkpoint holds the numbers of the other one",
    "protect": "it goes by the weights that the run began with",
}
# By the longest key: what a change does. Others change nothing of what is learned.
DOES = {
    "model.trust_remote_code": "",
    "objective": "the loss is another from here on",
    "data": "the rows are others from here on",
    "train.seed": "changes the data order",
    "train.batch_size": "changes the data order, and how far into an epoch a step is",
    "train.grad_accumulation": "changes how far into an epoch a step is",
    "train.epochs": "the learning rate goes on along the curve of the new length",
    "train.max_steps": "the learning rate goes on along the curve of the new length",
    "train.learning_rate": "goes on along the new curve",
    "train.schedule": "goes on along the new curve",
    "train.warmup_steps": "goes on along the new curve",
    "train.weight_decay": "holds from here on",
    "train.max_grad_norm": "holds from here on",
    "train.stop_on_nan": "holds from here on",
    "trainer_args": "holds from here on",
    "check.general": "checks so far were of other settings",
    "data.train": "other rows are refused without --anyway",
}


@dataclass(frozen=True)
class Change:
    """A setting that differs from the run's recipe, and what that does."""

    key: str
    old: Any
    new: Any
    does: str

    def __str__(self) -> str:
        said = f"{self.key}: {quoted(self.old)} -> {quoted(self.new)}"
        return f"{said} {self.does}" if self.does else said


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Compare two resolved recipes. Raises BadInput for a change that can't be made in the middle of a run."""
    found = []
    for key, before, after in _differences(old, new, ""):
        why, does = nearest(FIXED, key), nearest(DOES, key)
        if why is not None and (does is None or len(does[0]) < len(why[0])):
            raise BadInput(
                f"{key} can't change from {quoted(before)} to {quoted(after)}: {why[1]}.",
                hint="Leave it, or queue a new run.",
            )
        found.append(Change(key, before, after, "" if does is None else does[1]))
    return found


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], above: str
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        key = f"{above}.{name}" if above else name
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, key)
        elif before != after:
            yield key, before, after
