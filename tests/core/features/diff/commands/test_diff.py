"""`finetop diff`: output, exit codes, reports, and what it never loads."""

import json
from xml.etree import ElementTree

import pytest
from sample_logs import choice_row, right, write_log
from typed import loaded_by, refuses

from finetop.core.commands.main import verbs


@pytest.fixture
def finetop(tmp_path, command, monkeypatch):
    """Run one command in a folder with the logs a, b (a tenth lost) and c (a fifth missing)."""
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "a", "arc", [choice_row(n, right(n)) for n in range(200)])
    write_log(tmp_path / "b", "arc", [choice_row(n, right(n) and n % 10 != 1) for n in range(200)])
    write_log(tmp_path / "c", "arc", [choice_row(n, right(n)) for n in range(160)])
    return command


def test_ok_regressed_and_no_verdict_have_their_codes_and_words(finetop, tmp_path):
    code, out, _ = finetop("diff", "a", "a")
    assert code == 0
    assert out.splitlines()[:2] == ["a -> a", "OK  nothing lost (limit 3.0), all 200 items scored"]
    assert out.splitlines()[-1].split() == ["arc", "acc", "none", "200", "0", "0", "0", "0", "0"]
    code, out, _ = finetop("diff", "a", "b")
    assert (code, out.splitlines()[1]) == (1, "REGRESSED  10.0 points lost (limit 3.0), all 200 items scored")
    code, out, _ = finetop("diff", "a", "c")
    assert (code, "NO VERDICT  160 of 200 items joined (80 %), under 90 %" in out) == (3, True)
    assert out.splitlines()[-1].split() == ["arc", "acc", "none", "160", "40", "0", "0", "0", "0"]
    assert finetop("diff", "a", "c", "--joined", "0.8")[0] == 0
    assert finetop("diff", "a", "b", "--margin", "20")[0] == 0
    assert not (tmp_path / "home").exists()  # needs no home and no supervisor
    write_log(tmp_path / "d", "squad", [choice_row(n, True, acc=1.0, f1=0.5) for n in range(50)])
    code, out, _ = finetop("diff", "d", "d", "--metric", "squad=f1", "--json")
    assert (code, json.loads(out)["check"]["base"]) == (0, 0.5)
    assert "diff" in verbs() and "reports" not in verbs()
    code, out, _ = finetop("diff", "a", "b", "--json")
    document = json.loads(out)
    check = document["check"]
    assert (code, document["schema"], check["verdict"], len(check["flips"])) == (1, 1, "regressed", 20)
    assert check["joined"]["tasks"][0]["joined"] == 200


def test_reports_are_written_whatever_the_verdict_and_stand_alone_on_stdout(finetop, tmp_path):
    for log, code, word in (("a", 0, "OK"), ("b", 1, "REGRESSED"), ("c", 3, "NO VERDICT")):
        assert finetop("diff", "a", log, "--junit", "out.xml", "--markdown", "out.md")[0] == code
        suite = ElementTree.parse(tmp_path / "out.xml").getroot().find("testsuite")
        assert suite is not None and suite.get("name") == f"a -> {log}"
        assert word in (tmp_path / "out.md").read_text().splitlines()[0]
    code, out, _ = finetop("diff", "a", "b", "--junit", "-")
    assert code == 1 and ElementTree.fromstring(out).tag == "testsuites"
    code, out, _ = finetop("diff", "a", "b", "--markdown", "-")
    assert code == 1 and out.startswith("❌ **REGRESSED") and "joined task" not in out


def test_mistakes_are_one_line(finetop):
    cases = {
        "a missing": "missing: there is no such file or folder.",
        "a home": "home: there is no such file or folder.",
        "a b --metric arc=": "--metric 'arc=' names no metric.",
        "a b --metric acc --metric acc": "given twice",
        "a b --margin 0": "margin is 0",
        "a b --margin three": "invalid float value",
        "a b --junit - --json": "--junit - and --json would mix on stdout.",
        "a b --junit - --markdown -": "would mix on stdout",
        "a b --junit no/such/out.xml": "--junit: no folder no/such.",
        "a": "required: B",
    }
    refuses(finetop, cases, "diff")
    refuses(finetop, {"a b --markdown a": "--markdown: a can't be written: Is a directory."}, "diff", code=4)


def test_it_loads_nothing_of_the_training_stack(finetop):
    assert loaded_by(*["diff", "a", "b", "--junit", "out.xml", "--markdown", "out.md"]) == (1, [])
