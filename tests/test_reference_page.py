"""docs/reference.md is what `finetop recipe --markdown` prints; both commands name every setting, without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finetop.core.commands.main import main
from finetop.core.recipe.fields import fields
from finetop.core.train import methods, objectives, protections

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "recipe", "--markdown") == PAGE.read_text(encoding="utf-8")


def test_the_sections_have_every_setting_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {entry["key"]: entry for entry in json.loads(printed(capsys, "recipe", "--json"))["settings"]}
    own = ("method.", "objective.")
    known = {field.key: field for field in fields() if not field.key.startswith(own)}
    assert listed.keys() == known.keys() | {"method.name", "objective.name"}
    rate = {"type": "a number above 0, at most 1", "default": 2e-5}
    assert rate.items() <= listed["train.learning_rate"].items()


def test_each_name_shows_its_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, folder in {"method": methods, "objective": objectives, "protect": protections}.items():
        for name in folder.names():
            shown = printed(capsys, "methods", name)
            for option in folder.load(name).options.__struct_fields__:
                key = f"protect.{name}.{option}" if kind == "protect" else f"{kind}.{option}"
                assert f"\n{key}" in shown, (name, option)


def test_it_fits_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*printed(capsys, "recipe").splitlines(), *printed(capsys, "recipe", "train").splitlines()]
    assert [line for line in lines if len(line) > 88] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("recipe", "trian"), "Did you mean train?"),
        (("recipe", "method.rank"), "See `finetop methods lora`"),
        (("methods", "lroa"), "Did you mean lora?"),
    ],
)
def test_what_is_not_there_is_refused(
    words: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) == 2
    assert said in capsys.readouterr().err


def test_the_reference_loads_no_torch() -> None:
    code = (
        "import sys; from finetop.core.commands.main import main; main(['recipe', 'train']); main(['methods', 'grpo']);"
        "print(sorted({'torch', 'transformers', 'peft', 'trl', 'duckdb', 'textual', 'numpy'} & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert made.stdout.splitlines()[-1] == "[]"
