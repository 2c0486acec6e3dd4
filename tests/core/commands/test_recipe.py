"""`finetop recipe FILE`: the recipe as it will run, each value with its source."""

import json
import re
import shlex

import pytest
from typed import refuses

from finetop.core.commands.main import main
from finetop.core.protocol.run_columns import word_of
from finetop.core.recipe.dotted import flat_texts
from finetop.core.recipe.find import list_builtin
from finetop.core.recipe.load import load_recipe, resolve_text
from finetop.core.text import quoted

MINE = """recipe: 1
name: shop
extends: ./base.yaml
data: {train: [{path: a.jsonl}, {id: org/rows, share: 0.2}]}
objective: {name: ppo, reward: {model: "run:judge"}}
trainer_args: {adam_beta2: 0.95}
check: {target: {path: t.jsonl, metric: [rules], rules: [{rule: regex, value: '^a "b": c'}]}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "base.yaml").write_text("recipe: 1\nextends: ppo\ntrain: {seed: 7}\n")
    return tmp_path


def shown(capsys, *arguments):
    assert main(["recipe", *arguments]) == 0
    return capsys.readouterr().out


def test_each_value_has_its_source(capsys):
    lines = shown(capsys, "mine.yaml", "--set", "train.epochs=3").splitlines()
    assert lines[0] == "# mine.yaml extends base.yaml extends builtin:ppo.yaml"
    for line in (
        "name: shop  # mine.yaml:2",
        "    model: 'run:judge'  # mine.yaml:5",
        "    - id: org/rows  # mine.yaml:4",
        "      share: 0.2  # mine.yaml:4",
        "  seed: 7  # base.yaml:3",
        "  epochs: 3.0  # --set",
        "  batch_size: 8  # extends ppo",
        "trainer_args: {adam_beta2: 0.95}  # mine.yaml:6",
    ):
        assert line in lines
    assert "# default" not in "\n".join(lines)
    assert "  weight_decay: 0.0  # default" in shown(capsys, "mine.yaml", "--all").splitlines()
    assert "train.epochs" in shown(capsys, "train"), "a section stays what it was"
    assert "finetop recipe builtin:approaches" in shown(capsys, "approaches")


@pytest.mark.parametrize("name", ["mine.yaml", *(recipe.name for recipe in list_builtin())])
def test_what_is_printed_is_the_same_recipe(name, folder, capsys):
    wanted = load_recipe(name).resolved | {"extends": None}
    name = f"builtin:{name}" if name == "approaches" else name
    for arguments in ([], ["--all"]):
        assert resolve_text(shown(capsys, name, *arguments), (), folder).resolved == wanted


def test_a_chain_is_printed_stage_by_stage(capsys):
    pages = shown(capsys, "rlhf", "--set", "sft.train.epochs=9").split("---\n")
    names = ["# stage sft", "# stage reward", "# stage ppo"]
    assert [page.splitlines()[0].partition(" of ")[0] for page in pages] == names
    assert ["epochs: 9.0  # --set" in page for page in pages] == [True, False, False]
    answer = json.loads(shown(capsys, "rlhf", "--json"))
    assert [stage["stage"] for stage in answer["stages"]] == ["sft", "reward", "ppo"]
    assert answer["stages"][2]["from"]["train.batch_size"] == "extends ppo"
    assert answer["stages"][2]["recipe"]["objective"]["reward"]["model"] == "stage:reward"


def test_a_line_is_credited_only_with_what_stands_on_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "data: {train: [{path: rows.jsonl}]}"
    files = {
        "mine.yaml": f"recipe: 1\nextends: lora\n{rows}\n",
        "theirs.yaml": "recipe: 1\nname: x\ncommand: {run: [python, x.py]}\n",
        "chain.yaml": f"recipe: 1\nstages:\n  - {{name: sft, extends: lora, {rows}}}\n"
        f"  - {{name: dpo, extends: dpo, {rows}}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert "name: mine  # from the file's name\n" in shown(capsys, "mine.yaml")
    assert f"workdir: {tmp_path}  # from the recipe's folder\n" in shown(capsys, "theirs.yaml")
    sft, dpo = shown(capsys, "chain.yaml").split("---\n")
    assert "name: chain.sft  # from chain and stage\n" in sft
    assert "id: 'stage:sft'  # from the stage before\n" in dpo
    own = json.loads(shown(capsys, "mine.yaml", "--json"))["from"]
    assert {key for key, source in own.items() if source.startswith("mine.yaml")} == {
        "recipe",
        "data.train[0].path",
    }


def test_what_can_not_be_is_one_line(command):
    cases = {
        "train --set train.epochs=1": "--set works only with a recipe.",
        "--all": "--all works only with a recipe.",
        "lra": "Did you mean lora?",
        "x.txt": "there is no section, setting or built-in recipe 'x.txt'. See `finetop recipe` for",
        "mien.yaml": "Did you mean mine.yaml?",
        "mine.yaml --set train.epoch=1": "Did you mean epochs?",
    }
    refuses(command, cases, "recipe")


def test_an_error_of_several_names_the_command_that_prints_all(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("recipe: 1\nextends: lora\nlr: 3\ntrain: {epochs: 0}\n")
    assert main(["plan", "bad.yaml", "--set", "method.r=8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    shown = re.search(r"\(and 2 more, see `finetop ([^`]+)`\)$", line)
    assert shown is not None, line
    assert main(shlex.split(shown[1])) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    for hint in ("Did you mean rank?", "Did you mean train.learning_rate?", "train.epochs is 0"):
        assert sum(hint in line for line in lines) == 1


def test_a_rate_has_one_spelling_wherever_people_read_it(command):
    assert (quoted(2e-05), quoted(0.0002), quoted(0.1 + 0.2)) == ("2e-5", "2e-4", "0.30000000000000004")
    assert [word_of(rate) for rate in (2e-05, 0.0002, 0.03, 16.0)] == ["2e-5", "2e-4", "0.03", "16"]
    assert flat_texts({"train": {"learning_rate": 2e-05, "epochs": 3.0}}) == {
        "train.learning_rate": "2e-5", "train.epochs": "3.0"
    }  # fmt: skip
    _, out, _ = command("recipe", "lora", "--set", "train.learning_rate=0.00002")
    assert "  learning_rate: 2e-5  # --set" in out.splitlines()
