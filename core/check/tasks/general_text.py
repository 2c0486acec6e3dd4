"""The general text of a suite, on which drift is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.check.tasks.suite import find_suite
from finetop.core.errors import FinetopError
from finetop.core.runtime.files import read_given

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.home import Home


def general_text(recipe: Recipe, home: Home) -> str | None:
    """Return the general text of the recipe's suite, or of the suite quick; None if there is none."""
    name = recipe.check.general.suite if recipe.check.general is not None else "quick"
    try:
        path = find_suite(name, home).text
        return None if path is None else read_given(path).decode()
    except (FinetopError, OSError) as error:
        print(f"no drift probe: {error}")
        return None
