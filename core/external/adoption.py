"""What becomes of a finished command's output: the recipe of its run, now that the model names its base and method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.models.imports.inspect import Trained, models_of
from finetop.core.models.imports.recipe import ImportRequest, adopted
from finetop.core.protocol.runs import UNKNOWN
from finetop.core.recipe.command import output_of
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.runtime.files import os_error_words

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_MODEL = "no model to check"


@dataclass(frozen=True)
class Adoption:
    """The run's new recipe and the arguments of the job that imports its model; or why there is none."""

    recipe: dict[str, Any]
    args: dict[str, Any]
    why_not: str = ""


def adoption(resolved: Mapping[str, Any], trained: Trained) -> Adoption:
    """Read the output folder of a run's command, which has ended well."""
    recipe = recipe_from_resolved(resolved)
    command = recipe.command
    output = None if command is None else output_of(command)
    if command is None or output is None:
        return Adoption(
            {}, {}, f"{NO_MODEL}: its output folder is not known. Name it next time: --output DIR."
        )
    base = "" if recipe.model.id == UNKNOWN else recipe.model.id
    try:
        model = adopted(ImportRequest(str(output), Path(command.workdir), base))
        models_of(output, trained)
    except FinetopError as error:
        return Adoption({}, {}, f"{NO_MODEL}: {error.message} {error.hint}".strip())
    except OSError as error:
        return Adoption({}, {}, f"{NO_MODEL}: {os_error_words(error, output)}.")
    of_model = model.recipe.resolved["model"]
    kept = ("id", "dtype") if base else ("id", "revision", "dtype")
    return Adoption(
        {
            **resolved,
            "model": {**resolved["model"], **{key: of_model[key] for key in kept}},
            "method": model.recipe.resolved["method"],
        },
        {"path": str(output), "copy": False, "trained": msgspec.to_builtins(trained)},
    )
