"""docs/formats.md: each example is read by the recipe beside it, and no format, type or key is left out."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from finetop.core.data import files, formats, sources
from finetop.core.errors import BadInput
from finetop.core.plugins import OBJECTIVES
from finetop.core.recipe import columns
from finetop.core.recipe.load import check_files, resolve_text
from finetop.core.recipe.schema import Source

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


class Example(NamedTuple):
    """A recipe of the page, and the files that stand before it since the last."""

    name: str
    files: dict[str, str]
    recipe: str


def examples() -> list[Example]:
    found: list[Example] = []
    given: dict[str, str] = {}
    for kind, name, content in BLOCK.findall(PAGE):
        if kind == "yaml":
            found.append(Example(next(iter(given)), given, content))
            given = {}
        else:
            given[name] = content
    return found


ALL = {name: content for example in examples() for name, content in example.files.items()}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_is_read_as_the_page_says(example: Example, tmp_path: Path) -> None:
    for name, content in ALL.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    loaded = resolve_text(example.recipe, cwd=tmp_path)
    check_files(loaded)
    kinds = OBJECTIVES.load(loaded.recipe.objective.name).rows
    for source in loaded.recipe.data.train:
        assert len(sources.read(source, None, kinds)) == (1 if "notes" in example.name else 2)


def texts(name: str, tmp_path: Path) -> list[tuple[str, ...]]:
    (example,) = [one for one in examples() if one.name == name]
    (tmp_path / name).write_text(example.files[name], encoding="utf-8")
    recipe = resolve_text(example.recipe, cwd=tmp_path).recipe
    kinds = OBJECTIVES.load(recipe.objective.name).rows
    return [formats.texts_of(row.record) for row in sources.read(recipe.data.train[0], None, kinds)]


def test_columns_templates_and_labels_give_what_the_page_says(tmp_path: Path) -> None:
    assert texts("support.csv", tmp_path)[1] == ("How many rooms are there?", "12")
    assert texts("tickets.csv", tmp_path)[0] == ("Which queue?\nBroken lamp: It flickers.", "repairs")
    assert texts("reviews.csv", tmp_path) == [
        ("Review: A fine lamp.", "positive"),
        ("Review: It flickers.", "negative"),
    ]


def test_nothing_is_left_out() -> None:
    for name in formats.names():
        assert f"(`{name}`)" in PAGE
    for ending in files.endings():
        assert f"`{ending}`" in PAGE
    for key in columns.row_keys():
        assert f"`{key}`" in PAGE


def test_columns_of_any_name_are_in_templates(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Réponse du client,السؤال,n\n,متى؟,1\nOui.,أين؟,2\n", encoding="utf-8")
    recipe = """
        recipe: 1
        extends: lora
        data: {train: [{path: a.csv, columns: {prompt: '{{"q": "{السؤال}"}} {Réponse du client}', completion: n}}]}
    """
    source = resolve_text(recipe, cwd=tmp_path).recipe.data.train[0]
    assert [formats.texts_of(row.record)[0] for row in sources.read(source, None)] == [
        '{"q": "متى؟"} ',  # the first row has the column, though its cell is empty
        '{"q": "أين؟"} Oui.',
    ]


def test_in_json_lines_the_first_row_has_the_key(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    source = Source(path=str(file), columns={"prompt": "{q}{more}", "completion": "a"})
    file.write_text('{"q": "Why?", "more": null, "a": "So."}\n')
    assert formats.texts_of(sources.read(source, None)[0].record) == ("Why?", "So.")
    file.write_text('{"q": "Why?", "a": "So."}\n')
    with pytest.raises(BadInput, match="names the column 'more'"):
        sources.read(source, None)
