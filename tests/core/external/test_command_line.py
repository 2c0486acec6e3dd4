"""What `finetop run -- COMMAND` refuses before anything is queued, and how recipes of commands are read."""

import json
import sys

from typed import refuses

from finetop.core.protocol.messages.runs import Runs

LOOP = f"{sys.executable} train.py 1 2"
TOKEN = "hf_" + "a1B2c3D4e5F6" * 3
REFUSED = {
    "-- nosuchprogram x": "there is no program nosuchprogram",
    "--": "a recipe is missing",
    f"lora -- {LOOP}": "it is not clear what to run",
    "lora --output out": "--output is for a command",
    f"--metrics tensorbord -- {LOOP}": "Did you mean tensorboard?",
    f"--metrics none:out.csv -- {LOOP}": "names no file or folder of a source",
    f"--metrics csv: -- {LOOP}": "names no file or folder of a source",
    f'--resume-command "python \'x" -- {LOOP}': "--resume-command: no closing quotation",
    f"--set command.workdir=nowhere -- {LOOP}": "command.workdir: no such folder",
    f"--set command.env.CUDA_VISIBLE_DEVICES=0 -- {LOOP}": "finetop gives the command its GPUs",
    f"--set 'command.env={{\"A=B\": x}}' -- {LOOP}": "'A=B' can't be the name of a variable",
    f"--env A-B=1 -- {LOOP}": "--env: 'A-B=1' does not begin with a variable's name",
    f"--env NO_SUCH_VARIABLE -- {LOOP}": "this shell has no variable of that name",
    "lora --env A=1": "--env is for a command",
    f"--set command.env.A=[1] -- {LOOP}": "command.env.A is a list; it must be text",
    f"-- {LOOP} --hub_token {TOKEN}": "holds what looks like a Hugging Face token",
    f"-- {LOOP} --wandb-api-key abcdef": "command.run: --wandb-api-key is a secret",
    f"-- {LOOP} hub_token=abcdef": "command.run: hub_token is a secret",
    f"--set command.env.WANDB_API_KEY=abcdef -- {LOOP}": "command.env.WANDB_API_KEY",
    f"--base no/such/folder -- {LOOP}": "finetop: model.id: no folder 'no/such/folder'",
    f"--set model.id=run:other -- {LOOP}": "a command starts from a hub id or a folder",
    f"--set check.every=0.5 -- {LOOP}": "a command is checked at its end alone",
    f"-- {sys.executable} -u nosuch.py x.py": "there is no file nosuch.py in ",
    "python train.py": "A program goes after --: finetop run -- python train.py",
    "python train.py --lr 1": "finetop run -- python train.py --lr 1",
    "train.py": "is not a recipe. Start it as a command: finetop run -- python train.py",
    f"--sweep lr=1,2 -- {LOOP}": "the command has no {lr}",
    f"--seeds 2 -- {LOOP}": "the command has no {seed}",
    f"--sweep lr=1,2 -- {LOOP} {{lr}} --output_dir out": "several runs of this sweep write their model to",
}


def test_what_can_not_run_is_refused_in_one_line_before_it_is_queued(finetop, station):
    def without_secrets(*arguments):
        code, out, err = finetop(*arguments)
        assert TOKEN not in err and "abcdef" not in err
        return code, out, err

    refuses(without_secrets, REFUSED, "run")
    assert station.ask(Runs()).rows == []


FILES = {
    "extends: lora\ncommand: [python3, x.py]": "this recipe's command trains, but its objective is sft",
    "command: python3 x.py": "command is 'python3 x.py'; it must be a mapping or null",
    "command: {run: [ls], shell: ls}": "command.run and command.shell are both set",
    "command: []": "command.run is empty",
    "command: [python3, 3]": "command.run[1] is 3; it must be text",
    "method: {name: command}\nobjective: {name: command}": "there is no method 'command'",
    "objective: {name: watched}\ncommand: [python3]": "which is not of a run made by command",
    "stages: [{name: a, command: [python3, x.py]}, {name: b, extends: lora}]": "stage a: a command can't be a stage",
    "command: {rum: [python3]}": "command.rum is not an option of command. Did you mean run?",
}  # fmt: skip


def test_a_recipe_of_a_command_is_refused_with_its_place(finetop, station, tmp_path):
    for text, error in FILES.items():
        (tmp_path / "c.yaml").write_text(f"recipe: 1\nname: c\n{text}\n")
        refuses(finetop, {"c.yaml": error}, "run")
        assert "watched" in text or finetop("run", "c.yaml")[2].startswith("finetop: c.yaml:")
    assert station.ask(Runs()).rows == []


def test_other_verbs_refuse_it_in_one_line(finetop, tmp_path):
    (tmp_path / "c.yaml").write_text("recipe: 1\nname: c\ncommand: [python3, train.py]\n")
    cases = {
        "plan c.yaml": "c is trained by its own command, and finetop plan is for finetop's trainers",
        "approaches c.yaml": "finetop approaches is for finetop's trainers",
        "select c.yaml --curve": "finetop select --curve is for finetop's trainers",
        "lint c.yaml": "data.train: there is no data to check",
    }
    refuses(finetop, cases)


def test_a_recipe_is_shown_as_it_was_written_and_can_be_read_again(finetop, tmp_path):
    (tmp_path / "parent.yaml").write_text("recipe: 1\nname: p\ncommand: [python3, train.py, '{lr}']\n")
    text = "recipe: 1\nname: c\nextends: ./parent.yaml\ncommand: {values: {lr: 1e-4}, env: {THREADS: 2}}\n"
    (tmp_path / "c.yaml").write_text(text)
    code, out, err = finetop("recipe", "c.yaml")
    assert code == 0, err
    assert "  run: [python3, train.py, '{lr}']  # parent.yaml:3\n" in out
    assert "method" not in out and "model" not in out
    (tmp_path / "again.yaml").write_text(out)

    def resolved(*arguments):
        return json.loads(finetop("recipe", *arguments, "--json")[1])["recipe"]

    first, again = resolved("c.yaml"), resolved("again.yaml")
    assert {**first, "extends": None} == {**again, "extends": None}
    assert first["command"]["env"] == {"THREADS": 2}
    command = resolved("parent.yaml", "--set", "command.values.lr=2")["command"]  # of a short form
    assert (command["run"], command["values"]) == (["python3", "train.py", "{lr}"], {"lr": 2})


def test_the_rows_that_a_recipe_names_are_linted(finetop, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    text = "recipe: 1\nname: c\ncommand: [python3, train.py]\ndata: {train: [{path: rows.jsonl}]}\n"
    (tmp_path / "c.yaml").write_text(text)
    code, out, err = finetop("lint", "c.yaml")
    assert "3 rows" in out and "Traceback" not in err
    assert code in (0, 1)


def test_a_sweep_fills_in_its_values_and_seeds(finetop, station):
    arguments = ("--", "true", "{lr}", "{seed}", "--output_dir", "out-{lr}-{seed}")
    swept = ("--sweep", "lr=1e-4,2", "--seeds", "2")
    code, out, err = finetop("run", "--name", "s", "--hold", "--json", *swept, *arguments)
    assert code == 0, err
    names = [run["name"] for run in json.loads(out)["runs"]]
    assert names == ["s-lr1e-4-s1", "s-lr1e-4-s2", "s-lr2-s1", "s-lr2-s2"]
    assert "command.values.lr" in finetop("sweep", "s", "--json")[1]
    for name in names:
        finetop("stop", name)
