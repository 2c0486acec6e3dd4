"""The commands on the real supervisor with fake jobs: output, exit codes, JSON."""

import json
import os
import subprocess
import sys

import pytest
from rig import write_recipe
from typed import refuses

from finetop.core.commands.main import parser_of, verbs
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.wording.endings import kill_confirmation

OTHERS = {
    **dict.fromkeys(("lss", "stats", "list", "ps", "status", "lsit"), "ls"),
    "start": "run",
    "delete": "rm",
}
OTHERS |= {"log": "tail", "logs": "tail", "chek": "check"}


@pytest.fixture
def rig(shared_rig):
    return shared_rig


def test_an_empty_home_help_and_completion_say_what_there_is(command, tmp_path):
    code, out, _ = command("ls", "--home", str(tmp_path / "none"))
    assert code == 0 and "finetop demo" in out and "finetop run" in out
    out, script = command("--help")[1], command("completion", "bash")[1]
    assert all(f"\n  {verb} " in out and verb in script for verb in verbs())


def test_help_of_a_command_and_options_that_are_mistyped(command):
    code, out, _ = command("help", "run")
    assert code == 0 and out == parser_of("run").format_help()
    refuses(
        command,
        {
            "help rnu": "Did you mean run?",
            "ls --limt 3": "Did you mean --limit?",
            "run demo-lora --sett=a": "Did you mean --set?",
            "ls --xyz": "See `finetop ls --help`",
        },
    )


def test_run_wait_ls_show_tail_tell_the_same_story(finetop, tmp_path, monkeypatch):
    recipe = str(write_recipe(tmp_path, "mine", steps=12))
    code, out, _ = finetop("run", recipe, "--wait")
    assert code == 0
    assert "step 12/12  loss 0.0833" in out
    code, out, _ = finetop("ls")
    assert (code, "12/12" in out, "finished" in out) == (0, True, True)
    code, out, _ = finetop("show", "mine")
    assert (code, "step       12 of 12" in out, "next: finetop check mine" in out) == (0, True, True)
    lines = finetop("tail", "mine", "-n", "3")[1].splitlines()
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["10/12", "11/12", "12/12"]
    code, out, _ = finetop("tail", "mine", "--json", "-n", "2")
    assert [json.loads(line)["step"]["step"] for line in out.splitlines()] == [11, 12]
    assert "learning_rate" in finetop("show", "mine", "--recipe")[1]

    for command_line in (
        "ls",
        "show mine",
        "methods",
        "suites",
        "doctor",
        "supervisor status",
        "completion bash",
    ):
        code, out, _ = finetop(*command_line.split(), "--json")
        assert (code, json.loads(out)["schema"]) == (0, 1), command_line
    assert json.loads(finetop("sql", "SELECT 1 AS one", "--json")[1])["schema"] == 1
    assert finetop("run", recipe, "--name", "again", "--wait", "--json")[0] == 0

    monkeypatch.chdir(tmp_path)
    for arguments in (
        "diff ~nobody.here/a b", "lint ~nobody.here/rows.jsonl", "import ~nobody.here/model",
        "report mine --to ~nobody.here/y.html", "export mine --to ~nobody.here/whole", "run ~nobody.here/mine.yaml",
        "plan mine.yaml --config ~nobody.here/config.json", "check mine --suite ~nobody.here/s.yaml",
    ):  # fmt: skip
        code, out, err = finetop(*arguments.split())
        assert code == 2, (arguments, out, err)
        assert "~nobody.here" in err and "no such" in err, (arguments, err)

    code, out, _ = finetop("run", str(write_recipe(tmp_path, "bad", steps=2, end="crash")), "--wait")
    assert code == 1
    assert "FAILED exited with code 7" in out and "the loss is a cabbage" in out


def test_bad_input_is_one_line_with_its_exit_code(finetop):
    cases = {
        **{word: f"Did you mean {verb}?" for word, verb in OTHERS.items()},
        "run nowhere.yaml": "nowhere.yaml",
        "run lora": "data.train is not set",
        "run lora --set method.rnk=3": "Did you mean rank?",
        "run lora --set 'data.train=[{path: missing.jsonl}]'": "missing.jsonl",
        "run lora --name ../x": "cannot be a name",
        "show nobody": "no run 'nobody'",
        "check nobody@soon": "is not a step",
        "stop nobody": "no run",
        "sql 'DROP TABLE runs'": "only one SELECT",
        "ls --sort method": "--sort method: can't sort by method.",
        "ls age:2d": "age:2d: age takes < or >. Try age<2d.",
        "ls --unknown": "--unknown",
    }
    refuses(finetop, cases)
    refuses(finetop, {"--home /proc/finetop supervisor start": "/proc/finetop"}, code=4)


def test_an_argument_that_is_not_utf_8_is_refused_in_one_line(finetop):
    code, _, err = finetop("show", os.fsdecode(b"run-\xff"))
    assert (code, err) == (2, "finetop: 'run-?' is not valid UTF-8. Rename the file, or give another text.\n")


@pytest.mark.slow
def test_check_answers_with_its_exit_code_and_flips_names_the_items(finetop, rig):
    for name, lost, code, word in (("same", 0, 0, "OK"), ("worse", 20, 1, "REGRESSED")):
        rig.wait_state(rig.submit(name, steps=3, lost=lost), "finished")
        got, out, _ = finetop("check", name)
        assert (got, word in out) == (code, True)
        assert finetop("check", f"{name}@3", "--last")[0] == code
        got, out, _ = finetop("check", name, "--last", "--json")
        check = json.loads(out)["check"]
        assert (got, check["lost"]) == (code, 2 * lost)
        assert word in finetop("ls", f"name:{name}")[1].upper()
        got, out, _ = finetop("flips", name, "--task", "arithmetic")
        lines = out.splitlines()
        assert (got, lines[0]) == (
            0,
            f"{lost} of {lost} changed items in the deciding check of {name}",
        )
    assert lines[2].split()[:3] == ["lost", "arithmetic", "arithmetic-000"]
    answers = [line for line in lines[3:7] if line.startswith(("  base", "  tuned"))]
    assert answers == ["  base   12   (log p -0.40)", "  tuned  17   (log p -0.40)"]
    assert finetop("check", f"{name}@99")[0] == 2

    # A table, CSV, and CSV that no spreadsheet takes for formulas.
    query = "SELECT name, step FROM runs WHERE name IN ('same', 'worse') ORDER BY name"
    assert finetop("sql", query)[1].splitlines() == ["name   step", "same      3", "worse     3"]
    assert finetop("sql", query, "--csv")[1].splitlines() == ["name,step", "same,3", "worse,3"]
    cells = "SELECT '=1+1' AS \"@a\", '+x' AS b, '-3.5' AS c, -3.5 AS d, 'a=b' AS e"
    assert finetop("sql", cells, "--csv")[1].splitlines() == ["@a,b,c,d,e", "=1+1,+x,-3.5,-3.5,a=b"]
    assert finetop("sql", cells, "--spreadsheet")[1].splitlines() == [
        "'@a,b,c,d,e",
        "'=1+1,'+x,-3.5,-3.5,a=b",
    ]


def test_a_run_that_asks_for_it_is_checked_at_its_end_before_queued_training(rig):
    first = rig.submit("first", steps=3, check=True)
    second = rig.submit("second", steps=1)
    rig.wait_state(second, "finished")
    row = rig.ask(GetRun(first)).row
    assert row.check is not None
    assert row.check.at < rig.ask(GetRun(second)).row.state.since + 1


@pytest.mark.slow
def test_stop_and_kill_ask_first_at_a_terminal_in_the_words_of_the_app(finetop, rig, monkeypatch):
    rig.submit("long", steps=100_000, pause_s=0.02)
    rig.wait_step("long")
    assert finetop("stop", "long")[:2] == (0, "long saves a checkpoint, then stops.\n")
    rig.wait_state("long", "stopped")
    code, _, err = finetop("kill", "long")
    assert (code, err) == (1, "finetop: long is stopped: there is nothing to kill.\n")

    # Several, of which one name is wrong.
    for name in ("a", "b"):
        rig.submit(name, steps=100_000, pause_s=0.02)
    rig.wait_step("a")
    code, out, err = finetop("stop", "a", "nobody", "b")
    assert (code, err.count("\n"), "no run 'nobody'" in err) == (2, 1, True)
    assert [line.split()[0] for line in out.splitlines()] == ["a", "b"]
    for name in ("a", "b"):
        rig.wait_state(name, "stopped")
    code, out, _ = finetop("resume", "a", "b")
    begins = [line.split()[:2] for line in out.splitlines()]
    assert (code, begins) == (0, [["a", "resumes"], ["b", "resumes"]])
    assert finetop("kill", "a", "b")[0] == 0

    questions, answers = [], ["n", "y"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answers.pop(0))
    rig.submit("more", steps=100_000, pause_s=0.02)
    rig.submit("next", steps=1)
    rig.wait_step("more")
    assert finetop("stop", "next")[:2] == (1, "Nothing was done.\n")
    assert questions.pop() == "Remove next from the queue?  Nothing of it has run yet. [y/N] "
    assert finetop("kill", "more")[:2] == (0, "more is being killed.\n")
    asked_line = str(kill_confirmation(rig.ask(GetRun("more"))))
    assert questions.pop().split()[:2] == asked_line.split()[:2] == ["Kill", "more?"]
    rig.wait_state("more", "stopped")
    assert "killed" in finetop("ls", "name:more")[1]
    assert finetop("stop", "next", "--yes")[0] == 0
    code, _, err = finetop("kill", "more")
    assert (code, err) == (1, "finetop: more is killed: there is nothing to kill.\n")
    assert not questions, "what has ended, and --yes, ask nothing"


def test_ls_starts_light(rig):
    """No torch, no duckdb, no Textual, and few other modules: 0.3 s of CPU with a running supervisor."""
    code = (
        "import sys\n"
        "from finetop.tui.main import main\n"
        "sys.argv = ['finetop', 'ls']\n"
        "code = main()\n"
        "heavy = {'torch', 'duckdb', 'textual', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "print(code, sorted(heavy), len(sys.modules) < 400)\n"
    )
    environment = {**os.environ, "FINETOP_HOME": str(rig.home.root)}
    program = [sys.executable, "-c", code]
    completed = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    assert completed.stdout.splitlines()[-1] == "0 [] True"
