"""docs/recipe.md: every section with its settings and none else; what it shows can be read, as docs/check.md's can."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from finetop.core.recipe.load import load_recipe
from finetop.core.recipe.schema import General, Recipe, Source, StopEarly, Target
from finetop.core.recipe.stages import load_chain

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "recipe.md").read_text(encoding="utf-8")
OF_THE_RUN = {"recipe", "name", "about", "extends"}
BELOW = {
    "data": Source,
    "check": (Target, General),
    "train": StopEarly,
}  # settings of settings, named in the same row
FOLDERS = {"alarms", "protect"}  # each entry is a file, which their own pages name


def fields(*sections: object) -> set[str]:
    return {field.name for section in sections for field in msgspec.structs.fields(section)}


def test_every_section_is_there_with_its_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == fields(Recipe) - OF_THE_RUN
    types = {field.name: field.type for field in msgspec.structs.fields(Recipe)}
    for name, settings in rows:
        if name in FOLDERS or not hasattr(types[name], "__struct_fields__"):
            continue
        below = BELOW.get(name, ())
        known = fields(types[name], *(below if isinstance(below, tuple) else (below,))) - {"options"}
        shown = {
            word for word in re.findall(r"`(\w+)`", settings) if word not in ("nf4", "int8", "rank", "beta")
        }
        assert shown == known, name


@pytest.mark.parametrize("page", ["recipe.md", "check.md"])
def test_every_recipe_can_be_read(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for name in ("faq", "faq_test", "manuals", "pairs"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    for block in blocks:
        file = tmp_path / "mine.yaml"
        file.write_text(block)
        if "stages:" in block:
            chain = load_chain(str(file), [])
            assert [stage.name for stage in chain.stages] == ["domain", "sft", "dpo"]
        else:
            assert load_recipe(str(file)).recipe.data.train
