"""The README is true: its commands run, its tree is the tree, its recipe loads, its pictures are there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sample_logs import choice_row, write_log
from waiting import wait_until

from finetop.core import protocol, settings
from finetop.core.commands.main import main
from finetop.core.home import Home
from finetop.core.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    return [line.partition("  #")[0].strip() for line in blocks.splitlines() if line.startswith("finetop ")]


def made_elsewhere(folder: Path, tiny_model: Path) -> None:
    """What the commands name: a base model, an adapter, the sample logs of two models."""
    (folder / "base").symlink_to(tiny_model)
    (folder / "adapter").mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 2, "target_modules": ["q_proj"]}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    shutil.copy(tiny_model / "model.safetensors", folder / "adapter" / "adapter_model.safetensors")
    for name in ("base", "tuned"):
        rows = [choice_row(number, number % 10 > 0) for number in range(200)]
        write_log(folder / f"logs-of-{name}", "shops", rows)


def test_every_command_runs_in_the_order_given(rig, tiny_model, tmp_path, monkeypatch, capsys):
    """On fake jobs: what is tried here is that each line is understood and answered."""
    monkeypatch.setenv("FINETOP_HOME", str(rig.home.root))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made_elsewhere(tmp_path / "here", tiny_model)
    found = commands()
    assert len(found) > 8
    for line in found:
        words = shlex.split(line)[1:]
        if "@60" in line:
            words[1] = words[1].replace("@60", "@10")  # a fake job's last step
        if words[0] in ("stop", "pause"):
            rig.submit(f"to-{words[0]}", steps=5000, pause_s=0.02)
            rig.wait_state(f"to-{words[0]}", "running")
            words[1] = f"to-{words[0]}"
        if words[0] in ("queue", "retry"):  # what was paused waits
            words = ["to-pause" if word == "demo-lora" else word for word in words]
        if words[:2] == ["approaches", "approaches"]:
            words.append("--hold")  # six runs and what is asked of each: test_approaching.py has seen that
        code = main(words)
        captured = capsys.readouterr()
        assert code == 0, (line, captured.err)
        if words[0] == "pause":
            rig.wait_state("to-pause", "queued")
        if words[0] == "run":
            rig.wait_state(words[1], "finished")
            wait_until(
                lambda: (row := rig.ask(protocol.GetRun(words[1])).row).check and row.checking is None,  # noqa: B023
                lambda: rig.about(words[1]),  # noqa: B023
            )


def test_the_recipe_loads(tmp_path):
    recipe = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    path = tmp_path / "support-tone.yaml"
    path.write_text(recipe)
    assert load_recipe(str(path)).recipe.method.name == "lora"


def test_the_settings_load(tmp_path):
    found = re.findall(r"```yaml\n(settings: .*?)```", README, re.DOTALL)
    loaded = []
    for text in found:
        (tmp_path / "settings.yaml").write_text(text)
        loaded.append(settings.load(Home(tmp_path)))
    assert [one.quiet_hours is not None for one in loaded].count(True) == 1


def test_the_mistake_reads_as_shown(tmp_path, monkeypatch, capsys):
    shown = re.search(r"```text\n(finetop: .*?)\n```", README, re.DOTALL)[1]
    (tmp_path / "support-tone.yaml").write_text(
        "recipe: 1\nname: support-tone\nextends: lora\nmethod:\n  rnk: 8\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "support-tone.yaml"]) == 2
    assert capsys.readouterr().err.strip() == shown


def test_the_tree_is_the_tree():
    made = subprocess.run([sys.executable, str(ROOT / "docs" / "tree.py"), "--check"], check=False)
    assert made.returncode == 0, "run `python docs/tree.py`"


@pytest.mark.parametrize("picture", re.findall(r"\]\((docs/.+?\.svg)\)", README))
def test_pictures_are_there_and_are_pictures(picture):
    assert (ROOT / picture).read_text().lstrip().startswith("<svg")
