"""The commands on the real supervisor with fake jobs: output, exit codes, JSON."""

import json
import os
import subprocess
import sys

import pytest

from finetop.core.commands.main import verbs
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.wording.endings import kill_confirmation

OTHERS = {
    **dict.fromkeys(("stats", "list", "ps", "status", "lsit"), "ls"),
    **dict.fromkeys(("log", "logs"), "tail"),
    "start": "run",
    "delete": "rm",
}


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    path = tmp_path / "mine.yaml"
    plan = json.dumps(json.dumps({"steps": 12, "pause_s": 0.02}))
    path.write_text(
        "recipe: 1\nextends: lora\nname: mine\ncheck: {at_end: false}\n"
        f"about: {plan}\ndata: {{train: [{{path: rows.jsonl}}]}}\n"
    )
    return path


def test_an_empty_home_says_what_to_do_next(finetop):
    code, out, _ = finetop("ls")
    assert code == 0
    assert "finetop demo" in out
    assert "finetop run" in out


def test_run_wait_ls_show_tail_tell_the_same_story(finetop, recipe):
    code, out, _ = finetop("run", str(recipe), "--wait")
    assert code == 0
    assert "step 12/12  loss 0.0833" in out
    code, out, _ = finetop("ls")
    assert (code, "12/12" in out, "finished" in out) == (0, True, True)
    code, out, _ = finetop("show", "mine")
    assert (code, "step       12 of 12" in out, "next: finetop check mine" in out) == (0, True, True)
    code, out, _ = finetop("tail", "mine", "-n", "3")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("step")] == [
        "10/12",
        "11/12",
        "12/12",
    ]
    code, out, _ = finetop("tail", "mine", "--json", "-n", "2")
    assert [json.loads(line)["step"]["step"] for line in out.splitlines()] == [11, 12]
    code, out, _ = finetop("show", "mine", "--recipe")
    assert "learning_rate" in out


def test_the_folder_of_nobody_is_one_line(finetop, recipe, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    finetop("run", str(recipe), "--wait")
    for arguments in (
        "diff ~nobody.here/a b", "lint ~nobody.here/rows.jsonl", "import ~nobody.here/model",
        "report mine --to ~nobody.here/y.html", "export mine --to ~nobody.here/whole", "run ~nobody.here/mine.yaml",
        "plan mine.yaml --config ~nobody.here/config.json", "check mine --suite ~nobody.here/s.yaml",
    ):  # fmt: skip
        code, out, err = finetop(*arguments.split())
        assert code == 2, (arguments, out, err)
        assert "~nobody.here" in err and "no such" in err, (arguments, err)


def test_json_is_one_document_with_a_schema(finetop, recipe):
    finetop("run", str(recipe), "--wait", "--json")
    for arguments in (("ls",), ("show", "mine"), ("methods",), ("suites",), ("doctor",), ("sql", "SELECT 1 AS one"),
                  ("supervisor", "status"), ("completion", "bash")):  # fmt: skip
        code, out, _ = finetop(*arguments, "--json")
        assert code == 0, arguments
        assert json.loads(out)["schema"] == 1


def test_a_failed_run_exits_with_one_and_says_why(finetop, recipe):
    recipe.write_text(recipe.read_text().replace('\\"steps\\": 12', '\\"steps\\": 2, \\"end\\": \\"crash\\"'))
    code, out, _ = finetop("run", str(recipe), "--wait")
    assert code == 1
    assert "FAILED exited with code 7" in out
    assert "the loss is a cabbage" in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("lss",), 2, "Did you mean ls?"),
        *(((word,), 2, f"Did you mean {verb}?") for word, verb in OTHERS.items()),
        (("run", "nowhere.yaml"), 2, "nowhere.yaml"),
        (("run", "lora"), 2, "data.train is not set"),
        (("run", "lora", "--set", "method.rnk=3"), 2, "Did you mean rank?"),
        (("run", "lora", "--set", "data.train=[{path: missing.jsonl}]"), 2, "missing.jsonl"),
        (("run", "lora", "--name", "../x"), 2, "cannot be a name"),
        (("show", "nobody"), 2, "no run 'nobody'"),
        (("check", "nobody@soon"), 2, "is not a step"),
        (("stop", "nobody"), 2, "no run"),
        (("sql", "DROP TABLE runs"), 2, "only one SELECT"),
        (("ls", "--sort", "method"), 2, "--sort method: can't sort by method."),
        (("ls", "age:2d"), 2, "age:2d: age takes < or >. Try age<2d."),
        (("ls", "--unknown"), 2, "--unknown"),
        (("--home", "/proc/finetop", "supervisor", "start"), 4, "/proc/finetop"),
    ],
)
def test_bad_input_is_one_line_with_its_exit_code(finetop, words, code, says):
    got, out, err = finetop(*words)
    assert got == code
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err + out


@pytest.mark.parametrize(("lost", "code", "word"), [(0, 0, "OK"), (20, 1, "REGRESSED")])
def test_check_answers_with_its_exit_code_and_flips_names_the_items(finetop, rig, lost, code, word):
    rig.wait_state(rig.submit("one", steps=3, lost=lost), "finished")
    got, out, _ = finetop("check", "one")
    assert got == code
    assert word in out
    assert finetop("check", "one@3", "--last")[0] == code
    got, out, _ = finetop("check", "one", "--last", "--json")
    document = json.loads(out)
    assert (got, document["check"]["lost"]) == (code, 2 * lost)
    assert word in finetop("ls")[1].upper()
    got, out, _ = finetop("flips", "one", "--task", "arithmetic")
    assert (got, out.splitlines()[0]) == (0, f"{lost} of {lost} changed items in check 1 of one")
    if lost:
        lines = out.splitlines()
        assert lines[2].split()[:3] == ["lost", "arithmetic", "arithmetic-000"]
        assert [line for line in lines[3:7] if line.startswith(("  base", "  tuned"))] == [
            "  base   12   (log p -0.40)",
            "  tuned  17   (log p -0.40)",
        ]
    assert finetop("check", "one@99")[0] == 2


def test_a_run_that_asks_for_it_is_checked_at_its_end_before_queued_training(rig):
    first = rig.submit("first", steps=3, check=True)
    second = rig.submit("second", steps=1)
    rig.wait_state(second, "finished")
    row = rig.ask(GetRun(first)).row
    assert row.check is not None
    assert row.check.at < rig.ask(GetRun(second)).row.state.since + 1


def test_stop_and_kill(finetop, rig):
    rig.submit("long", steps=100_000, pause_s=0.02)
    rig.wait_step("long")
    assert finetop("stop", "long")[:2] == (0, "long saves a checkpoint, then stops.\n")
    rig.wait_state("long", "stopped")
    code, _, err = finetop("kill", "long")
    assert (code, err) == (1, "finetop: long is stopped: there is nothing to kill.\n")


def test_at_a_terminal_it_is_asked_first_in_the_words_of_the_app(finetop, rig, monkeypatch):
    questions, answers = [], ["n", "y"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answers.pop(0))
    rig.submit("long", steps=100_000, pause_s=0.02)
    rig.submit("next", steps=1)
    rig.wait_step("long")
    assert finetop("stop", "next")[:2] == (1, "Nothing was done.\n")
    assert questions.pop() == "Remove next from the queue?  Nothing of it has run yet. [y/N] "
    assert finetop("kill", "long")[:2] == (0, "long is being killed.\n")
    asked_line = str(kill_confirmation(rig.ask(GetRun("long"))))
    assert questions.pop().split()[:2] == asked_line.split()[:2] == ["Kill", "long?"]
    rig.wait_state("long", "stopped")
    assert "killed" in finetop("ls")[1]
    assert finetop("stop", "next", "--yes")[0] == 0
    code, _, err = finetop("kill", "long")
    assert (code, err) == (1, "finetop: long is killed: there is nothing to kill.\n")
    assert not questions, "what has ended, and --yes, ask nothing"


def test_several_runs_are_stopped_though_one_name_is_wrong(finetop, rig):
    for name in ("a", "b"):
        rig.submit(name, steps=100_000, pause_s=0.02)
    rig.wait_step("a")
    code, out, err = finetop("stop", "a", "nobody", "b")
    assert (code, err.count("\n"), "no run 'nobody'" in err) == (2, 1, True)
    assert [line.split()[0] for line in out.splitlines()] == ["a", "b"]
    for name in ("a", "b"):
        rig.wait_state(name, "stopped")
    code, out, _ = finetop("resume", "a", "b")
    assert (code, [line.split()[:2] for line in out.splitlines()]) == (
        0,
        [["a", "resumes"], ["b", "resumes"]],
    )
    assert finetop("kill", "a", "b")[0] == 0


def test_sql_prints_a_table_and_csv(finetop, rig):
    rig.wait_state(rig.submit("one", steps=3), "finished")
    assert finetop("sql", "SELECT name, step FROM runs")[1].splitlines() == ["name  step", "one      3"]
    assert finetop("sql", "SELECT name, step FROM runs", "--csv")[1].splitlines() == ["name,step", "one,3"]
    cells = "SELECT '=1+1' AS \"@a\", '+x' AS b, '-3.5' AS c, -3.5 AS d, 'a=b' AS e"
    assert finetop("sql", cells, "--csv")[1].splitlines() == ["@a,b,c,d,e", "=1+1,+x,-3.5,-3.5,a=b"]
    assert finetop("sql", cells, "--spreadsheet")[1].splitlines() == [
        "'@a,b,c,d,e",
        "'=1+1,'+x,-3.5,-3.5,a=b",
    ]


def test_completion_knows_every_verb(finetop):
    script = finetop("completion", "bash")[1]
    for verb in verbs():
        assert verb in script


def test_help_lists_every_verb(finetop):
    code, out, _ = finetop("--help")
    assert code == 0
    for verb in verbs():
        assert f"\n  {verb} " in out


def test_ls_starts_light(rig):
    """No torch, no duckdb, no Textual; under 0.3 s of CPU with a running supervisor (the test allows twice that)."""
    code = (
        "import sys, time\n"
        "from finetop.tui.main import main\n"
        "sys.argv = ['finetop', 'ls']\n"
        "code = main()\n"
        "heavy = {'torch', 'duckdb', 'textual', 'transformers', 'datasets', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "print(code, sorted(heavy), time.process_time() < 0.6)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FINETOP_HOME": str(rig.home.root)},
    )
    assert completed.stdout.splitlines()[-1] == "0 [] True"
