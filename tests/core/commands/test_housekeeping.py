"""rm, trash, clean and rebuild as typed: nothing is removed unasked, and what was removed is reported."""

import json

import pytest
from still import still


@pytest.fixture
def finetop(cold_rig, finetop_of):
    """Run one command on a home with two finished runs, one of four checkpoints."""
    still_rig = still(cold_rig.home.root)
    still_rig.run("one", (1, 2, 3, 4))
    still_rig.run("two", (1,))
    still_rig.close()
    cold_rig.up()
    return finetop_of(cold_rig.home)


def test_a_run_goes_to_the_trash_comes_back_and_goes_for_good(finetop):
    for arguments in (["rm", "one"], ["rm", "one", "--json"]):  # nobody can be asked
        code, _, err = finetop(*arguments)
        assert (code, "Add --yes" in err) == (2, True)
    assert "one" in finetop("ls")[1]
    code, out, _ = finetop("rm", "one", "--yes")
    assert (code, "1 run, " in out, "finetop trash --restore" in out) == (0, True, True)
    assert "one" not in finetop("ls")[1]
    assert "one" in finetop("trash")[1]
    assert finetop("trash", "--restore", "one")[:2] == (0, "one is back.\n")
    assert finetop("show", "one")[0] == 0
    finetop("rm", "one", "--yes", "--json")
    code, out, _ = finetop("trash", "--json")
    assert [run["name"] for run in json.loads(out)["trash"]] == ["one"]
    assert "Add --yes" in finetop("trash", "--empty")[2]
    assert finetop("trash", "--empty", "--yes")[1].endswith("MiB.\n")
    assert finetop("trash")[1] == "The trash is empty.\n"
    assert "The trash is empty." in finetop("trash", "--restore", "one")[2]


def test_a_person_is_asked_and_of_several_a_wrong_name_keeps_no_other(finetop, monkeypatch):
    stop_tries_each_run_and_exits_with_the_worst(finetop)
    questions, answers = [], ["", "y"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answers.pop(0))
    code, out, _ = finetop("rm", "one", "two")
    assert questions[0].startswith("Move 2 runs to the trash?  ") and questions[0].endswith("B. [y/N] ")
    assert (code == 0, finetop("show", "one")[0], "Nothing was done." in out) == (False, 0, True)
    code, out, err = finetop("rm", "one", "nobody", "two")
    assert (code, err.count("\n"), "no run 'nobody'" in err) == (2, 1, True)
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["run", "one", "two"]
    assert questions[1].startswith("Move 2 runs to the trash?  ")
    assert [finetop("show", name)[0] for name in ("one", "two")] == [2, 2]
    code, out, err = finetop("rm", "one", "two", "--yes")
    assert (code, out, err.count("\n"), len(questions)) == (2, "", 2, 2)


def stop_tries_each_run_and_exits_with_the_worst(finetop):
    code, out, err = finetop("stop", "one", "nobody", "two")
    assert (code, out) == (2, "")  # 1 for an ended run, 2 for an unknown one
    assert [line.split()[1] for line in err.splitlines()] == ["one", "there", "two"]
    answer = json.loads(finetop("stop", "one", "nobody", "--json")[1])
    assert [(run["run"], "error" in run) for run in answer["runs"]] == [("one", True), ("nobody", True)]


def test_clean_shows_first_and_does_it_with_yes_alone(finetop, cold_rig):
    code, out, _ = finetop("clean", "--last", "2")
    assert (code, "one@2" in out, "one@1" in out, "one@3" not in out) == (0, True, True, True)
    assert "finetop clean --yes" in out
    assert len(list(cold_rig.home.runs.glob("*-one/checkpoints/*"))) == 4
    assert "2 deleted" in finetop("clean", "--last", "2", "--yes")[1]
    steps = sorted(p.name for p in cold_rig.home.runs.glob("*-one/checkpoints/*"))
    assert steps == ["step-000003", "step-000004"]
    assert finetop("clean", "--last", "2")[1].startswith("Nothing to clean.")
    code, _, err = finetop("clean", "--last", "few")
    assert (code, "--last is 'few'; it must be a number or none." in err) == (2, True)
    (cold_rig.home.root / "settings.yaml").write_text("settings: 1\nkeep: {last: none}\n")
    code, _, err = finetop("clean")
    assert (code, "settings.yaml:2: keep.last is 'none'" in err) == (2, True)


@pytest.mark.slow
def test_rebuild_says_what_it_took_in_and_the_next_command_finds_all(finetop, cold_rig):
    before = finetop("show", "one", "--json")[1]
    code, out, _ = finetop("rebuild")
    assert code == 0 and "2 runs, 2 jobs, " in out and "kept as finetop.duckdb.before-rebuild-" in out
    cold_rig.up()
    assert finetop("show", "one", "--json")[1] == before
    finetop("supervisor", "stop")
    cold_rig.home.database.write_bytes(b"not a database " * 1000)
    code, out, err = finetop("ls")
    assert (code, "`finetop rebuild`" in err, err.count("\n")) == (4, True, 1)
    code, out, _ = finetop("doctor")
    assert (code, "-> finetop rebuild" in out) == (4, True)
    assert finetop("rebuild", "--json")[0] == 0
    cold_rig.up()
    assert finetop("show", "one", "--json")[1] == before
