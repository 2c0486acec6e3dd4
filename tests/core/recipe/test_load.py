"""Loading: built-in recipes, extends, --set, paths and line numbers through all of them; files before a run."""

from __future__ import annotations

import json
import os
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from finetop.core.errors import NotFound, RecipeError
from finetop.core.recipe import load
from finetop.core.recipe.find import list_builtin
from finetop.core.recipe.load import (
    check_files,
    load_recipe,
    recipe_from_mapping,
    recipe_from_resolved,
    recipe_to_mapping,
    resolve_text,
)

CHILD = "recipe: 1\nextends: ./base.yaml\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return name


@pytest.mark.parametrize("name", [recipe.name for recipe in list_builtin()])
def test_every_builtin_recipe_loads_and_survives_json(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    loaded = load_recipe(name, cwd=tmp_path)
    assert loaded.recipe.name == name
    assert loaded.recipe.about
    assert loaded.text.startswith("#"), "the header says what for and how to run"
    assert recipe_from_mapping(recipe_to_mapping(loaded.recipe)) == loaded.recipe
    assert json.loads(json.dumps(loaded.resolved)) == loaded.resolved == recipe_to_mapping(loaded.recipe)
    monkeypatch.setattr(load, "recipe_from_mapping", None)  # it is converted, not read like a file
    assert recipe_from_resolved(loaded.resolved) == loaded.recipe


def test_lora_and_full_differ_where_they_must_and_without_rows_are_refused_before_a_run(
    tmp_path: Path,
) -> None:
    lora, full = (load_recipe(name, cwd=tmp_path) for name in ("lora", "full"))
    assert (lora.recipe.train.learning_rate, full.recipe.train.learning_rate) == (2e-4, 2e-5)
    says = r"builtin:lora\.yaml: data\.train is not set: .* --set 'data\.train="
    with pytest.raises(RecipeError, match=says):
        check_files(lora)


def test_unknown_recipes_are_not_found_and_a_file_name_that_cannot_be_a_run_asks_for_one(
    tmp_path: Path,
) -> None:
    with pytest.raises(NotFound, match=r"there is no recipe 'lroa'. Did you mean lora\?"):
        load_recipe("lroa", cwd=tmp_path)
    write(tmp_path, "support.yaml", "recipe: 1")
    with pytest.raises(NotFound, match=r"there is no recipe file suport.yaml. Did you mean support.yaml\?"):
        load_recipe("suport.yaml", cwd=tmp_path)
    for hostile in ("builtin:../../etc/passwd", "a\0b", "x" * 5000, "~nobody-here/x.yaml", ""):
        with pytest.raises((NotFound, RecipeError)):
            load_recipe(hostile, cwd=tmp_path)
    write(tmp_path, "my recipe.yaml", "recipe: 1\n")
    with pytest.raises(RecipeError, match=r"my recipe.yaml: 'my recipe' cannot be a name"):
        load_recipe("my recipe.yaml", cwd=tmp_path)
    assert load_recipe("my recipe.yaml", ["name=mine"], cwd=tmp_path).recipe.name == "mine"


def test_extends_merges_mappings_replaces_lists_and_drops_the_options_of_another_method(
    tmp_path: Path,
) -> None:
    base = "recipe: 1\nname: base\nabout: b\nextends: lora\nmethod: {rank: 4}\nsamples: {prompts: [a, b]}\n"
    write(tmp_path, "base.yaml", base)
    write(tmp_path, "child.yaml", CHILD + "method: {alpha: 8}\nsamples: {prompts: [c]}\n")
    loaded = load_recipe("child.yaml", cwd=tmp_path)
    recipe = loaded.recipe
    assert (recipe.name, recipe.about, recipe.extends) == ("child", "", "./base.yaml")
    assert (recipe.method.options.rank, recipe.method.options.alpha) == (4, 8.0)
    assert recipe.samples.prompts == ("c",)
    assert recipe.train.learning_rate == 2e-4
    assert loaded.chain == ("child.yaml", "base.yaml", "builtin:lora.yaml")
    assert loaded.places["method.rank"] == "base.yaml:5"
    assert loaded.places["method.alpha"] == "child.yaml:3"
    assert loaded.places["train.learning_rate"].startswith("builtin:lora.yaml:")
    write(tmp_path, "base.yaml", "recipe: 1\nmethod: {rank: 4}\n")
    write(tmp_path, "full.yaml", CHILD + "method: {name: full}\n")
    write(tmp_path, "same.yaml", CHILD + "method: {name: lora}\n")
    assert load_recipe("./full.yaml", cwd=tmp_path).recipe.method.name == "full"
    assert load_recipe("same.yaml", cwd=tmp_path).recipe.method.options.rank == 4
    assert load_recipe("lora", ["method.name=full"], cwd=tmp_path).recipe.method.name == "full"
    both = load_recipe("full", ["method.rank=3", "method.name=lora"], cwd=tmp_path).recipe
    assert both.method.options.rank == 3


def test_a_fault_in_a_parent_is_shown_there_and_a_chain_that_is_too_long_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "sub/base.yaml", "recipe: 1\ntrain:\n  epochs: 1\n  bach_size: 2\n")
    write(tmp_path, "child.yaml", "recipe: 1\nextends: sub/base.yaml\n")
    says = r"^sub/base\.yaml:4: train\.bach_size .* Did you mean batch_size\?"
    with pytest.raises(RecipeError, match=says):
        load_recipe("child.yaml", cwd=tmp_path)
    for i in range(12):
        write(tmp_path, f"r{i}.yaml", f"recipe: 1\nextends: ./r{i + 1}.yaml\n")
    with pytest.raises(RecipeError, match=r"r7\.yaml:2: extends goes deeper than 8 recipes\."):
        load_recipe("r0.yaml", cwd=tmp_path)


@pytest.mark.parametrize(
    ("extends", "said"),
    [
        ("lra", "child.yaml:2: extends: there is no recipe 'lra'. Did you mean lora?"),
        ("./bse.yaml", "child.yaml:2: extends: there is no recipe file ./bse.yaml. Did you mean base.yaml?"),
        ("./child.yaml", "child.yaml:2: extends is circular."),
        ("./round.yaml", "round.yaml:2: extends is circular."),
        ("[lora]", "child.yaml:2: extends is a list."),
        ("/dev/zero", "/dev/zero: cannot be read: not a file."),
        ("./fifo.yaml", "fifo.yaml: cannot be read: not a file."),
        ("./folder.yaml", "folder.yaml: "),
        ("./binary.yaml", "binary.yaml:2: is not UTF-8 text."),
        ("./big.yaml", "big.yaml: is larger than 256 KiB."),
        ("./list.yaml", "list.yaml:1: a recipe is a mapping of sections; this is a list."),
        ("./new.yaml", "new.yaml:1: recipe is 2; this finetop reads version 1."),
        ("./none.yaml", "none.yaml:1: no version. Write `recipe: 1` on the first line."),
    ],
)
def test_extends_faults(tmp_path: Path, extends: str, said: str) -> None:
    child = f"recipe: 1\nextends: {extends}\n"
    texts = {"base": "recipe: 1", "round": "recipe: 1\nextends: ./child.yaml", "child": child, "list": "[1]"}
    texts |= {"new": "recipe: 2", "none": "train: {}", "big": "#" * 300_000}
    for name, text in texts.items():
        write(tmp_path, f"{name}.yaml", text)
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "fifo.yaml")
    with pytest.raises(RecipeError) as caught:
        load_recipe("child.yaml", cwd=tmp_path)
    assert str(caught.value).startswith(said)


def test_paths_start_from_the_file_that_wrote_them(tmp_path: Path) -> None:
    sources = "{path: a.jsonl}, {path: ../b.jsonl}, {path: 'builtin:demo/c.jsonl'}"
    text = f"recipe: 1\nmodel: {{id: ./m}}\ndata: {{train: [{sources}]}}\n"
    write(tmp_path, "sub/base.yaml", text)
    write(tmp_path, "child.yaml", "recipe: 1\nextends: sub/base.yaml\ncheck: {target: {path: t.jsonl}}\n")
    recipe = load_recipe("child.yaml", ["model.chat_template=c.jinja"], cwd=tmp_path).recipe
    paths = [source.path for source in recipe.data.train]
    assert paths[:2] == [str(tmp_path / "sub/a.jsonl"), str(tmp_path / "b.jsonl")]
    assert paths[2] is not None and paths[2].endswith("recipes/demo/c.jsonl") and Path(paths[2]).is_absolute()
    assert recipe.check.target is not None and recipe.check.target.path == str(tmp_path / "t.jsonl")
    assert recipe.model.id == str(tmp_path / "sub/m")
    assert recipe.model.chat_template == str(tmp_path / "c.jinja")
    assert load_recipe("lora", cwd=tmp_path).recipe.model.id == "smollm2-135m-instruct"


def test_set_lays_values_over_the_recipe_and_checks_on_the_way_take_one_line(tmp_path: Path) -> None:
    sets = ["train.epochs=0.5", "train.learning_rate=1e-5", "data.train[0].path=a.jsonl", "name=other"]
    sets += ["data.train[1]={path: b.jsonl, share: 0.1, role: replay}", "check.general="]
    sets += ["samples.prompts=[x, y]", "samples.prompts[1]=z"]
    recipe = load_recipe("lora", sets, cwd=tmp_path).recipe
    assert (recipe.name, recipe.train.epochs, recipe.train.learning_rate) == ("other", 0.5, 1e-5)
    assert [source.path for source in recipe.data.train] == [str(tmp_path / f"{name}.jsonl") for name in "ab"]
    assert recipe.data.train[1].role == "replay"
    assert recipe.check.general is None
    assert recipe.samples.prompts == ("x", "z")
    text = (
        "recipe: 1\nname: support-tone\nextends: lora\ndata: {train: [{path: faq.jsonl}]}\n"
        "check: {target: {path: faq_test.jsonl, metric: exact_match}, every: 0.25, on_fail: flag,"
        " general: {suite: quick, margin: 3.0, alpha: 0.05}}\n"
    )
    check = load_recipe(write(tmp_path, "r.yaml", text), cwd=tmp_path).recipe.check
    assert (check.every, check.on_fail, check.at_end) == (0.25, "flag", True)
    keep = load_recipe("lora", ["check.every=20", "check.on_fail=keep-best"], cwd=tmp_path).recipe.check
    assert (keep.every, keep.on_fail) == (20, "keep-best")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method.rnk=3", "--set: method.rnk is not an option of lora. Did you mean rank?"),
        ("trian.epochs=3", "--set: trian is not a section of a recipe. Did you mean train?"),
        ("train.epochs=0", "--set: train.epochs is 0; it must be a number above 0"),
        ("train.epochs", "--set: 'train.epochs' is not KEY=VALUE. Write it as --set train.epochs=3."),
        ("=3", "--set: '' is not the name of a setting."),
        ("a b=3", "--set: 'a b' is not the name of a setting."),
        ("a..b=3", "--set: 'a..b' is not the name of a setting."),
        ("train.epochs=[", "--set: train.epochs: "),
        ("train.epochs=# x", "--set: train.epochs: is empty."),
        ("train.epochs=!!python/none", "--set: train.epochs: the tag"),
        ("train.epochs=.nan", "--set: train.epochs: .nan is not a number"),
        ("samples.prompts[2]=x", "--set: samples.prompts has 0 items. Use samples.prompts[0] to add one."),
        ("train[0]=x", "--set: train is a mapping, not a list."),
        ("train.epochs.x=1", "--set: train.epochs is 2, and has no settings."),
        ("extends=full", "--set: extends cannot be set."),
        ("recipe=2", "--set: recipe is 2; it must be 1."),
        ("name=../x", "--set: '../x' cannot be a name."),
        ("a" + ".a" * 40 + "=1", "--set: 'a.a.a"),
    ],
)
def test_set_faults(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("lora", [text], cwd=tmp_path)
    assert str(caught.value).startswith(said)


def test_files_are_checked_before_a_run(home: Path, tmp_path: Path) -> None:
    text = "recipe: 1\ndata:\n  train:\n    - path: train.jsonl\n    - {path: trian.jsonl, share: 0.1}\n"
    write(home, "r.yaml", text)
    with pytest.raises(RecipeError) as caught:
        check_files(load_recipe("r.yaml", cwd=home))
    message = f"r.yaml:5: data.train[1].path: no such file: {home}/trian.jsonl. Did you mean train.jsonl?"
    assert str(caught.value) == message
    check_files(load_recipe("r.yaml", ["data.train=[{path: train.jsonl}]"], cwd=home))
    loaded = resolve_text("recipe: 1\ndata: {train: [{path: train.jsonl}]}\n", cwd=home)
    assert loaded.recipe.data.train[0].path == str(home / "train.jsonl")
    check_files(loaded)
    # a folder or a pattern
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").write_text("prompt,completion\na,b\n")
    text = "recipe: 1\nextends: lora\ndata: {train: [{path: parts}, {path: parts/*.csv}]}\n"
    check_files(resolve_text(text, cwd=tmp_path))
    for path, expected in (("none", "no such file"), ("none/*.csv", "no such folder")):
        with pytest.raises(RecipeError, match=expected):
            check_files(resolve_text(text.replace("path: parts/*.csv", f"path: {path}"), cwd=tmp_path))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("check: {target: {path: none.jsonl}}", "r.yaml:3: check.target.path: no such file"),
        ("model: {id: ./none}", "r.yaml:3: model.id: no such folder"),
        ("model: {id: ./train.jsonl}", "r.yaml:3: model.id: not a folder"),
        ("model: {chat_template: .}", "r.yaml:3: model.chat_template: not a file"),
        ("model: {chat_template: empty}", "r.yaml:3: model.chat_template: is empty"),
    ],
)
def test_other_files_are_checked(home: Path, line: str, said: str) -> None:
    (home / "empty").touch()
    write(home, "r.yaml", f"recipe: 1\ndata: {{train: [{{path: train.jsonl}}]}}\n{line}\n")
    with pytest.raises(RecipeError) as caught:
        check_files(load_recipe("r.yaml", cwd=home))
    assert str(caught.value).startswith(said)


def nested(levels: int) -> dict[str, Any]:
    return reduce(lambda tree, _: {"data": tree}, range(levels), {})


def test_plain_data_of_a_recipe_is_checked_as_strictly_and_no_resolved_recipe_is_named_as_in_a_file() -> None:
    none: list[Any] = ["", [], None, {}, nested(100_000)]
    for mapping in (*none, float("nan"), {"recipe": 1, "train": {"epochs": 0}}):
        with pytest.raises(RecipeError, match=r"^the recipe: "):
            recipe_from_mapping(mapping)
    for mapping in (*none, {"recipe": 1, "method": {"name": []}}):
        with pytest.raises(RecipeError, match=r"^job\.json: "):
            recipe_from_resolved(mapping, "job.json")


def test_a_resolved_recipe_is_converted_by_its_types_and_no_rule_is_run(tmp_path: Path) -> None:
    whole = load_recipe("full", cwd=tmp_path).resolved
    clash = {**whole, "model": {**whole["model"], "quantize": "nf4"}}
    with pytest.raises(RecipeError, match="full does not work with nf4 weights"):
        recipe_from_mapping(clash)
    assert recipe_from_resolved(clash).model.quantize == "nf4"
    wrong = {**whole, "train": {**whole["train"], "batch_size": "four"}}
    says = r"^job\.json: train\.batch_size is 'four'; it must be a whole number"
    with pytest.raises(RecipeError, match=says):
        recipe_from_resolved(wrong, "job.json")
    foreign = {**whole, "method": {"name": "none", "rank": 3}}
    assert recipe_from_resolved(foreign).method.options == {"rank": 3}
    assert recipe_from_resolved({**whole, "alarms": {"spike": False}}).alarms.spike.on is False
