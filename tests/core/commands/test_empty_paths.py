"""An empty path, as from an unset shell variable, is refused: no default takes its place."""

import re
from itertools import product

import pytest
from typed import refuses

from finetop.core.commands.main import main, parser_of, verbs
from finetop.core.commands.shared.options import a_path
from finetop.core.errors import BadInput
from finetop.core.recipe.home_settings import load
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import DATABASE_FOLDER, Home, find_home

OF_PATHS = {"DIR", "FILE", "PATH", "FOLDER", "DATA", "OUT", "RECIPE", "SUITE", "MODEL", "A", "B"}


@pytest.fixture
def usual(monkeypatch, tmp_path):
    """Make the default home a folder of this test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("FINETOP_HOME", DATABASE_FOLDER):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".finetop"


def test_no_command_takes_the_usual_home_for_an_empty_one(usual, capsys):
    for verb, given in product(verbs(), ("", " ")):
        required = ["x"] * 3 if verb not in ("supervisor", "sql") else []
        for arguments in ([f"--home={given}", verb], ["--home", given, verb]):
            assert main([*arguments, *required]) == 2, (verb, given)
    assert not usual.exists()


@pytest.mark.parametrize(
    "command_line", [["rebuild"], ["clean", "--yes"], ["ls"], ["doctor"], ["ls", "--on", "."]]
)
def test_what_acts_on_a_home_says_that_its_path_is_empty(usual, capsys, monkeypatch, command_line):
    for before, behind in (([], ["--home", ""]), (["--home", ""], []), (["--home="], [])):
        assert main([*before, *command_line, *behind]) == 2
        assert capsys.readouterr().err.startswith("finetop: --home is empty. Give a path, or leave it out.")
    for name in ("FINETOP_HOME", DATABASE_FOLDER):
        monkeypatch.setenv(name, "")
        assert main(command_line) == 2
        assert capsys.readouterr().err.startswith(f"finetop: {name} is empty.")
        monkeypatch.delenv(name)
    assert not usual.exists()


def test_without_the_option_and_the_variable_the_usual_home_is_taken(usual):
    assert find_home().root == usual


def test_every_argument_that_takes_a_path_refuses_an_empty_one():
    loose = [
        f"{verb} {action.dest}"
        for verb in verbs()
        for action in parser_of(verb)._actions
        if isinstance(action.metavar, str) and action.dest != "home"
        if OF_PATHS & set(re.split(r"[|\[@.=]", action.metavar)) and action.type is not a_path
    ]
    assert not loose


def test_an_empty_path_of_an_argument_is_one_line(tmp_path, command):
    commands = "report a --to '';export a --to=;lint '';lint a.csv --fix '';run '';plan lora --config ''"
    commands += ";diff '' b;check --model '';import m --data '';suites '';approaches '';recipe ''"
    message = "the path is empty (an unset shell variable?). See `finetop"
    refuses(command, dict.fromkeys(commands.split(";"), message), "--home", str(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_no_setting_and_no_function_takes_the_working_folder_for_an_empty_path(tmp_path):
    with pytest.raises(BadInput, match="is empty"):
        given_path("")
    for target in ({"path": ""}, {"path": " "}):
        given = {"recipe": 1, "model": {"id": "m"}, "method": {"name": "lora"}, "data": {"train": [target]}}
        with pytest.raises(BadInput, match=r"train\[0\].path"):
            recipe_from_mapping(given, tmp_path)
    for hook in ("''", "' '"):
        (tmp_path / "settings.yaml").write_text(f"settings: 1\ntell: {{webhook: {{url_file: {hook}}}}}\n")
        with pytest.raises(BadInput, match=r"settings.yaml:2: tell\.webhook\.url_file"):
            load(Home(tmp_path))
