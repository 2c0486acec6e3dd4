"""What the job's own code refuses, tested in a separate process, for a card that this process describes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from finetop.core.errors import BadInput
from finetop.core.plan.rehearsal import Rehearsal
from finetop.core.recipe.load import load_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.plan.machine import Machine


def test_a_format_that_the_card_has_not_is_refused(tiny_model: Path, card: Machine) -> None:
    t4 = replace(card, name="Tesla T4", has_bfloat16=False)
    recipe = load_recipe("lora", ["model.dtype=bfloat16"]).recipe
    with pytest.raises(BadInput, match=r"model\.dtype is bfloat16, and Tesla T4 can't compute in it"):
        Rehearsal(recipe, tiny_model / "config.json", t4).answer()
