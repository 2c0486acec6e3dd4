"""docs/recipe.md: every section with its settings and none else, and what it says of chains and lengths."""

import re
from pathlib import Path

import msgspec

from finetop.core.plugins import METHODS, OBJECTIVES
from finetop.core.recipe.length import count_steps
from finetop.core.recipe.schema import General, Method, Objective, Recipe, Source, StopEarly, Target, Train
from finetop.core.recipe.stages import load_chain
from finetop.core.recipe.validate import arms, is_struct, struct_fields

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


def marked(kind: type[msgspec.Struct], key: str, mark: str) -> set[tuple[str, object]]:
    """List the settings below a section that have a mark of core/recipe/merge.py, with what it says."""
    found: set[tuple[str, object]] = set()
    for name, field in struct_fields(kind).items():
        child = f"{key}{name}"
        extras = [getattr(meta, "extra", None) or {} for meta in getattr(field.type, "__metadata__", ())]
        found |= {(child, extra[mark]) for extra in extras if mark in extra}
        for arm in arms(field.type):
            if arm is Objective:
                for objective in OBJECTIVES.names():
                    found |= marked(OBJECTIVES.load(objective).options, f"{child}.", mark)
            elif arm is Method:
                for method in METHODS.names():
                    found |= marked(METHODS.load(method).options, f"{child}.", mark)
            elif is_struct(arm):
                found |= marked(arm, f"{child}.", mark)
            elif getattr(arm, "__origin__", None) is tuple and is_struct(arm.__args__[0]):
                found |= marked(arm.__args__[0], f"{child}[].", mark)
    return found


def test_what_wins_is_told_as_the_settings_declare_it() -> None:
    said = re.search(r"^## What wins\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert said
    sentence = re.search(r"\. ([^.]*?`[^:]*?) count as one setting each", said[1], re.DOTALL)
    assert sentence
    whole = {key for key, merges in marked(Recipe, "", "merges") if not merges}
    assert set(re.findall(r"`([\w.]+)`", sentence[1])) == whole
    drops = marked(Recipe, "", "belongs_to") | marked(Recipe, "", "yields_to")
    for key, head in drops:
        assert re.search(rf"`{key}`[^,]* with (?:its )?`[\w.]*{head}`", said[1].replace("\n", " ")), key


def sections_that_may_be_null(kind: type[msgspec.Struct], key: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in struct_fields(kind).items():
        sections = [arm for arm in arms(field.type) if is_struct(arm)]
        if sections and type(None) in arms(field.type):
            found.add(f"{key}{name}")
        for section in sections:
            found |= sections_that_may_be_null(section, f"{key}{name}.")
    return found


def test_the_sections_that_may_be_null_are_named() -> None:
    said = re.search(r"Of the sections only\n(.*?) can be `null`", PAGE, re.DOTALL)
    assert said
    assert set(re.findall(r"`([\w.]+)`", said[1])) == sections_that_may_be_null(Recipe)


def test_what_stands_above_the_stages_holds_as_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(
        "recipe: 1\ntrain: {learning_rate: 1e-4}\ncheck: {general: null}\nstages:\n"
        "  - {name: sft, extends: lora, data: {train: [{path: a.csv}]}}\n"
        "  - {name: dpo, extends: dpo, train: {learning_rate: 3e-6}, data: {train: [{path: a.csv}]}}\n"
    )
    chain = load_chain(str(file), [])
    assert chain
    recipes = [stage.loaded.recipe for stage in chain.stages]
    assert [recipe.train.learning_rate for recipe in recipes] == [1e-4, 3e-6]
    assert [recipe.check.general for recipe in recipes] == [None, None]
    assert [recipe.name for recipe in recipes] == ["chain.sft", "chain.dpo"]  # of the file, without a name


def test_steps_and_epochs_are_counted_as_the_page_says() -> None:
    train = Train(epochs=2.0, batch_size=4, grad_accumulation=4)
    assert count_steps(train, 800) == 100
    assert count_steps(msgspec.structs.replace(train, max_steps=30), 800) == 30
