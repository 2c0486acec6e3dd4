"""Any text either loads or raises RecipeError."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import given, settings, strategies as st

from finetop.core.errors import RecipeError
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import find_problems, recipe_from_mapping, recipe_to_mapping, resolve_text

BASE = Path(__file__).parents[3] / "recipes" / "lora.yaml"
KEYS = sorted({part.strip("[]") for field in fields() for part in field.key.split(".")})
TOKENS = [*KEYS, *"{}[]:,-?&*!|>'\"%@`#~\\", *["---", "...", "<<", "!!", "\\U", "1e9", ".inf"]]
TOKENS += ["\n", "\n  ", " ", ": ", "- ", "\t"]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
scalars |= st.sampled_from(["lora", "a.jsonl"])
names = st.sampled_from(KEYS) | st.text(max_size=5)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
)


def load(text: str, sets: list[str] | None = None) -> None:
    try:
        loaded = resolve_text(text, sets or [], Path("/nowhere"))
    except RecipeError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
        return
    assert recipe_from_mapping(recipe_to_mapping(loaded.recipe)) == loaded.recipe


@given(st.text(max_size=200))
@settings(max_examples=80, deadline=None)
def test_any_text(text: str) -> None:
    load(text)
    load("recipe: 1\nname: x\n" + text)


@given(st.lists(st.sampled_from(TOKENS), max_size=40))
@settings(max_examples=120, deadline=None)
def test_any_row_of_tokens(tokens: list[str]) -> None:
    load("recipe: 1\nname: x\n" + "".join(tokens))


@given(st.binary(max_size=3), st.integers(0, 2000), st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_a_damaged_recipe(noise: bytes, at: int, cut: int) -> None:
    text = BASE.read_text()
    load(text[:at] + noise.decode("latin-1") + text[at + cut :])


@given(st.dictionaries(st.sampled_from(KEYS), trees, max_size=4))
@settings(max_examples=80, deadline=None)
def test_any_tree_in_json(tree: dict[str, object]) -> None:
    with contextlib.suppress(RecipeError):
        recipe_from_mapping({**tree, "recipe": 1, "name": "x"})


settings_of_any = st.builds("{}={}".format, st.sampled_from([f.key for f in fields()]), st.text(max_size=20))


@given(st.text(max_size=40) | settings_of_any)
@settings(max_examples=120, deadline=None)
def test_any_set(text: str) -> None:
    load("recipe: 1\nname: x\n", [text])
    assert all(isinstance(problem, RecipeError) for problem in find_problems("recipe: 1", [text]))
