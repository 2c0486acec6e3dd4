"""What `finetop run -- COMMAND` refuses before anything is queued, and how recipes of commands are read."""

import json
import sys

import pytest

from finetop.core.protocol.messages.runs import Runs

PYTHON = sys.executable
LOOP = (PYTHON, "train.py", "1", "2")
TOKEN = "hf_" + "a1B2c3D4e5F6" * 3
REFUSED = {
    "program": (("--", "nosuchprogram", "x"), "there is no program nosuchprogram"),
    "no command": (("--",), "a recipe is missing"),
    "recipe and command": (("lora", "--", *LOOP), "it is not clear what to run"),
    "option of a command": (("lora", "--output", "out"), "--output is for a command"),
    "metrics": (("--metrics", "tensorbord", "--", *LOOP), "Did you mean tensorboard?"),
    "metrics of none": (("--metrics", "none:out.csv", "--", *LOOP), "names no file or folder of a source"),
    "metrics without path": (("--metrics", "csv:", "--", *LOOP), "names no file or folder of a source"),
    "quotes": (("--resume-command", "python 'x", "--", *LOOP), "--resume-command: no closing quotation"),
    "folder": (("--set", "command.workdir=nowhere", "--", *LOOP), "command.workdir: no such folder"),
    "gpus": (("--set", "command.env.CUDA_VISIBLE_DEVICES=0", "--", *LOOP), "finetop gives the command its GPUs"),
    "environment": (("--set", "command.env.A=[1]", "--", *LOOP), "command.env.A is a list; it must be text"),
    "token": (("--", *LOOP, "--hub_token", TOKEN), "holds what looks like a Hugging Face token"),
    "named secret": (("--", *LOOP, "--wandb-api-key", "abcdef"), "command.run: --wandb-api-key is a secret"),
    "named with =": (("--", *LOOP, "hub_token=abcdef"), "command.run: hub_token is a secret"),
    "secret variable": (("--set", "command.env.WANDB_API_KEY=abc", "--", *LOOP), "command.env.WANDB_API_KEY"),
    "base": (("--base", "no/such/folder", "--", *LOOP), "finetop: model.id: no folder 'no/such/folder'"),
    "base of a run": (("--set", "model.id=run:other", "--", *LOOP), "a command starts from a hub id or a folder"),
    "checks within": (("--set", "check.every=0.5", "--", *LOOP), "a command is checked at its end alone"),
    "no script": (("--", PYTHON, "-u", "nosuch.py", "x.py"), "there is no file nosuch.py in "),
    "forgotten --": (("python", "train.py"), "A program goes after --: finetop run -- python train.py"),
    "forgotten -- with options": (("python", "train.py", "--lr", "1"), "finetop run -- python train.py --lr 1"),
    "script as recipe": (("train.py",), "is not a recipe. Start it as a command: finetop run -- python train.py"),
    "sweep without place": (("--sweep", "lr=1,2", "--", *LOOP), "the command has no {lr}"),
    "seeds without place": (("--seeds", "2", "--", *LOOP), "the command has no {seed}"),
    "one output": (
        ("--sweep", "lr=1,2", "--", *LOOP, "{lr}", "--output_dir", "out"),
        "several runs of this sweep write their model to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_run_is_refused_in_one_line_before_it_is_queued(finetop, station, case):
    arguments, error = REFUSED[case]
    code, out, err = finetop("run", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert error in err
    assert TOKEN not in err and "abcdef" not in err
    assert station.ask(Runs()).rows == []


FILES = {
    "extends": ("extends: lora\ncommand: [python3, x.py]", "this recipe's command trains, but its objective is sft"),
    "text": ("command: python3 x.py", "command is 'python3 x.py'; it must be a mapping or null"),
    "two lines": ("command: {run: [ls], shell: ls}", "command.run and command.shell are both set"),
    "empty": ("command: []", "command.run is empty"),
    "number": ("command: [python3, 3]", "command.run[1] is 3; it must be text"),
    "no command": ("method: {name: command}\nobjective: {name: command}", "there is no method 'command'"),
    "watched": ("objective: {name: watched}\ncommand: [python3]", "which is not of a run made by command"),
    "stage": (
        "stages: [{name: a, command: [python3, x.py]}, {name: b, extends: lora}]",
        "stage a: a command can't be a stage of a chain",
    ),
    "misspelled": ("command: {rum: [python3]}", "command.rum is not an option of command. Did you mean run?"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_recipe_of_a_command_is_refused_with_its_place(finetop, station, tmp_path, case):
    text, error = FILES[case]
    (tmp_path / "c.yaml").write_text(f"recipe: 1\nname: c\n{text}\n")
    code, _, err = finetop("run", "c.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert error in err
    assert case == "watched" or err.startswith("finetop: c.yaml:")
    assert station.ask(Runs()).rows == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("plan", "c.yaml"), "c is trained by its own command, and finetop plan is for finetop's trainers"),
        (("approaches", "c.yaml"), "finetop approaches is for finetop's trainers"),
        (("select", "c.yaml", "--curve"), "finetop select --curve is for finetop's trainers"),
        (("lint", "c.yaml"), "data.train: there is no data to check"),
    ],
)
def test_other_verbs_refuse_it_in_one_line(finetop, tmp_path, arguments, error):
    (tmp_path / "c.yaml").write_text("recipe: 1\nname: c\ncommand: [python3, train.py]\n")
    code, _, err = finetop(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert error in err


def test_a_recipe_is_shown_as_it_was_written_and_can_be_read_again(finetop, tmp_path):
    (tmp_path / "parent.yaml").write_text("recipe: 1\nname: p\ncommand: [python3, train.py, '{lr}']\n")
    text = "recipe: 1\nname: c\nextends: ./parent.yaml\ncommand: {values: {lr: 1e-4}, env: {THREADS: 2}}\n"
    (tmp_path / "c.yaml").write_text(text)
    code, out, err = finetop("recipe", "c.yaml")
    assert code == 0, err
    assert "  run: [python3, train.py, '{lr}']  # parent.yaml:3\n" in out
    assert "method" not in out and "model" not in out
    (tmp_path / "again.yaml").write_text(out)
    recipes = [
        json.loads(finetop("recipe", name, "--json")[1])["recipe"] for name in ("c.yaml", "again.yaml")
    ]
    assert {**recipes[0], "extends": None} == {**recipes[1], "extends": None}
    assert recipes[0]["command"]["env"] == {"THREADS": 2}


def test_the_values_of_a_short_form_can_be_set(finetop, tmp_path):
    (tmp_path / "c.yaml").write_text("recipe: 1\nname: c\ncommand: [python3, train.py, '{lr}']\n")
    code, out, err = finetop("recipe", "c.yaml", "--set", "command.values.lr=2", "--json")
    assert code == 0, err
    command = json.loads(out)["recipe"]["command"]
    assert (command["run"], command["values"]) == (["python3", "train.py", "{lr}"], {"lr": 2})


def test_the_rows_that_a_recipe_names_are_linted(finetop, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    text = "recipe: 1\nname: c\ncommand: [python3, train.py]\ndata: {train: [{path: rows.jsonl}]}\n"
    (tmp_path / "c.yaml").write_text(text)
    code, out, err = finetop("lint", "c.yaml")
    assert "3 rows" in out and "Traceback" not in err
    assert code in (0, 1)


def test_a_sweep_fills_in_its_values_and_seeds(finetop, station):
    words = ("--", "true", "{lr}", "{seed}", "--output_dir", "out-{lr}-{seed}")
    code, out, err = finetop(
        "run", "--name", "s", "--hold", "--json", "--sweep", "lr=1e-4,2", "--seeds", "2", *words
    )
    assert code == 0, err
    names = [run["run"] if "run" in run else run["name"] for run in json.loads(out)["runs"]]
    assert names == ["s-lr1e-4-s1", "s-lr1e-4-s2", "s-lr2-s1", "s-lr2-s2"]
    listed = json.loads(finetop("sweep", "s", "--json")[1])
    assert "command.values.lr" in json.dumps(listed)
    for name in names:
        finetop("stop", name)
