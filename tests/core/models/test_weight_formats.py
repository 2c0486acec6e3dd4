"""Formats of the base's weights: the files are the settings, and what is true of one is written in its file alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from msgspec import structs

from finetop.core.errors import RecipeError
from finetop.core.models import weight_formats
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.schema import Model
from finetop.core.recipe.weight_formats import NAMES
from finetop.core.train import methods

CORE = Path(__file__).resolve().parents[3] / "core"
PACKED = [name for name in weight_formats.names() if name != "none"]
# Where a format is named that is not just any: what a plan and an approach suggest, and what a method goes with.
NAMED = {"plan/changes.py", "features/approaches/approaches/qlora.py", "train/methods"}


def test_the_files_are_the_choices_whole_weights_first() -> None:
    assert set(NAMES) == set(weight_formats.names()) and NAMES == ("none", "nf4", "int8")
    (field,) = (field for field in structs.fields(Model) if field.name == "quantize")
    assert field.type.__origin__.__args__ == NAMES
    assert methods.load("lora").quantized == ("none", "int8", "nf4")
    with pytest.raises(RecipeError, match=r"model\.quantize is 'fp5'; it must be one of none, nf4, int8"):
        resolve_text("recipe: 1\nextends: lora\nname: x\nmodel: {quantize: fp5}\n")


@pytest.mark.parametrize("name", PACKED)
def test_fewer_bits_take_fewer_bytes_and_can_be_loaded(name: str) -> None:
    import torch

    form = weight_formats.load(name)
    assert form.about and form.library and form.linear_bytes is not None
    assert form.bits / 8 <= form.linear_bytes < 2
    assert form.config(torch.bfloat16).quant_method == form.library


def test_a_format_is_named_in_its_file_alone() -> None:
    elsewhere = {
        file.relative_to(CORE).as_posix()
        for file in CORE.rglob("*.py")
        if any(name in (source := file.read_text(encoding="utf-8")) for name in PACKED)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and node.value in PACKED
    }
    assert len(elsewhere) > 2
    own = ("models/weight_formats/", *NAMED)
    assert [name for name in elsewhere if not name.startswith(own)] == []
