"""What becomes of a finished command's output: the recipe of its run, now that the model names its base and method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.models.imports.recipe import ImportRequest, adopted
from finetop.core.protocol.runs import UNKNOWN
from finetop.core.recipe.command import output_of
from finetop.core.recipe.load import recipe_from_resolved

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Adoption:
    """The run's new recipe and the arguments of the job that imports its model; or why there is none."""

    recipe: dict[str, Any]
    args: dict[str, Any]
    why_not: str = ""


def adoption(resolved: Mapping[str, Any]) -> Adoption | None:
    """Read the output folder of a run's command; None if it has none that is known."""
    recipe = recipe_from_resolved(resolved)
    output = None if recipe.command is None else output_of(recipe.command)
    if output is None:
        return None
    base = "" if recipe.model.id == UNKNOWN else recipe.model.id
    try:
        model = adopted(ImportRequest(str(output), Path(output.anchor), base))
    except FinetopError as error:
        return Adoption({}, {}, f"no model to check: {error.message} {error.hint}".strip())
    there = model.recipe.resolved
    known = {key: there["model"][key] for key in ("id", "revision", "dtype")}
    return Adoption(
        {**resolved, "model": {**resolved["model"], **known}, "method": there["method"]},
        {"path": str(output), "steps": model.found.steps, "copy": False, "history": False},
    )
