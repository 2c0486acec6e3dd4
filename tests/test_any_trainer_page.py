"""docs/any-trainer.md is true: its commands are accepted, its recipe loads, its tables name what there is."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from rig import Rig

from finetop.core.commands.main import load, main
from finetop.core.external import sources, trainers
from finetop.core.protocol.messages.queue import Hold, Stop
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.runs import word
from finetop.core.recipe.command import argv, output_of
from finetop.core.recipe.load import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "any-trainer.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("finetop ")
]


def typed(page: str) -> list[str]:
    """List the commands that a page shows with their output, where it shows them."""
    return re.findall(r"^\$ finetop (.*)$", page, re.MULTILINE)


def test_every_command_is_accepted(
    cold_rig: Rig, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing starts: what is tried here is that each line is understood, and its files are read."""
    cold_rig.up()
    cold_rig.ask(Hold())
    monkeypatch.setenv("FINETOP_HOME", str(cold_rig.home.root))
    monkeypatch.chdir(tmp_path)
    for name in ("base", "smollm2-135m-instruct"):
        (tmp_path / name).symlink_to(tiny_model)
    for name in ("sft.py", "train.py", "test.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "out").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "axolotl").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "axolotl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "conf.yaml").write_text("base_model: org/base\noutput_dir: out\n")
    story = [line for line in typed(PAGE) if line.startswith("run ")]
    assert len(LINES) >= 5 and story
    for words in [*(shlex.split(line, comments=True)[1:] for line in LINES), *map(shlex.split, story)]:
        assert main(words) == 0, words
        for row in cold_rig.ask(Runs()).rows:  # the next command may have the same output
            if word(row.state) == "queued":
                cold_rig.ask(Stop(row.name))


def test_the_recipe_loads_and_starts_what_it_says(tmp_path: Path) -> None:
    (recipe,) = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "recipe: 1" in block]
    (tmp_path / "mine.yaml").write_text(recipe)
    command = load_recipe(str(tmp_path / "mine.yaml")).recipe.command
    assert command is not None
    assert argv(command) == ["python", "train.py", "--lr", "0.0001"]
    assert output_of(command) == tmp_path / "out"
    newest = tmp_path / "out" / "checkpoint-20"
    newest.mkdir(parents=True)
    (newest / "trainer_state.json").write_text("{}")
    assert argv(command, resumed=True) == ["python", "train.py", "--resume", str(newest)]
    assert yaml.safe_load(recipe)["command"]["stop_signal"] == command.stop_signal


def test_every_trainer_and_every_source_is_named() -> None:
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named == {*trainers.names(), *sources.names()}


def test_the_sources_stand_in_the_order_in_which_they_are_believed() -> None:
    table = PAGE.partition("| kind | what is read |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([a-z_]+)`", row.split("|")[1]) for row in table.splitlines() if "`" in row]
    ranks = [[sources.load(name).rank for name in row] for row in rows]
    assert all(max(row) < min(following) for row, following in pairwise(ranks))


def test_the_script_is_python_and_calls_what_is_there() -> None:
    scripts = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        compile(script, "script", "exec")
    assert len(scripts[0].splitlines()) <= 23


def test_the_verbs_that_show_the_story_are_there() -> None:
    assert {line.split()[0] for line in typed(PAGE)} >= {"run", "triage", "flips", "remedy"}
    for line in typed(PAGE):
        assert load(line.split()[0]).about
