"""`finetop check`: an existing check is printed at once, a waiting one says for what, and 1 means REGRESSED only."""

import json
import re
import time

import pytest

from finetop.core.client.connection import Client
from finetop.core.commands.shared import follow
from finetop.core.errors import FinetopError, Refused
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Queue
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.wording.queue import waits

LOST = 20  # items lost in each task: REGRESSED


@pytest.fixture
def rig(shared_rig):
    return shared_rig


def without_time(line):
    return re.sub(r", starts about \d\d:\d\d", "", line)


def waits_for(run):
    return f"1st in the queue: waits for the one job slot; running: {run}"


def checks_of(rig, name):
    return sum(job.verb == "check" for job in rig.ask(GetRun(name)).jobs)


def trained(rig, name="one", **plan):
    name = rig.submit(name, steps=3, **plan)
    rig.wait_state(name, "finished")
    return name


@pytest.fixture
def on_line(monkeypatch):
    """Call `do` once a followed check prints a text; returns the lines that it prints."""

    def of(text, do):
        lines = []
        say = follow.JobProgress.say

        def say_then_do(self, line):
            say(self, line)
            lines.append(line)
            if text in line and sum(text in printed for printed in lines) == 1:
                do()

        monkeypatch.setattr(follow.JobProgress, "say", say_then_do)
        return lines

    return of


@pytest.mark.slow
def test_what_was_checked_is_printed_at_once(finetop, rig):
    for name, lost, code in (("same", 0, 0), ("worse", LOST, 1)):
        trained(rig, name, lost=lost, check=True)
        rig.wait_job(name, "check")
        got, out, err = finetop("check", name)
        assert (got, err, checks_of(rig, name)) == (code, "", 1)
        assert f"Check again: finetop check {name} --again" in out.splitlines()[-1]
        for more, is_new in ((), False), (("--again",), True):
            got, out, _ = finetop("check", name, "--json", *more)
            assert (got, json.loads(out)["new"], checks_of(rig, name)) == (code, is_new, 1 + is_new)
    # More of a check that scored everything is that check.
    code, out, _ = finetop("check", name, "--more", "--json")
    assert (code, json.loads(out)["new"], checks_of(rig, name)) == (1, False, 2)
    finetop("check", name, "--margin", "5")
    assert checks_of(rig, name) == 3  # a claim other than the existing ones


def test_a_check_that_is_under_way_is_left_or_followed_and_no_other_is_begun(finetop, rig, on_line):
    name = trained(rig, lost=LOST, holds=["check"])

    def interrupt():
        raise KeyboardInterrupt

    on_line("check", interrupt)
    code, _, err = finetop("check", name)
    left = f"the check of {name} keeps running. To follow it again: finetop check {name}"
    assert (code, left in err) == (130, True)
    assert rig.ask(GetRun(name)).row.checking is not None
    with pytest.raises(FinetopError, match="already being checked"):
        rig.ask(Check(name))
    lines = on_line("is already being checked", lambda: rig.let_go(name, "check"))
    code, out, _ = finetop("check", name)
    assert (code, "REGRESSED" in out, checks_of(rig, name)) == (1, True, 1)
    assert lines[0] == f"{name} is already being checked; following that check."


@pytest.mark.slow
def test_a_check_of_another_step_comes_after_the_one_that_is_made(finetop, rig, on_line):
    name = trained(rig, saved=[2, 3], check=True, holds=["check"])
    lines = on_line("is being checked at step 3", lambda: rig.let_go(name, "check"))
    assert finetop("check", f"{name}@2")[0] == 0
    assert lines[0] == f"{name} is being checked at step 3; the check of {name}@2 comes after it."
    assert [job.args["step"] for job in rig.ask(GetRun(name)).jobs if job.verb == "check"] == [3, 2]


def test_a_check_that_waits_says_for_what_as_the_queue_does(finetop, rig, on_line):
    name, other = trained(rig), rig.submit("other", steps=3, waits_at=2)
    rig.wait_state(other, "running")
    queue_says = []

    def look_then_let_go():
        answer = rig.ask(Queue())
        queue_says.append(waits(answer.rows[0], answer, time.time()))
        (rig.job_folder(other) / "go").touch()

    lines = on_line("in the queue", look_then_let_go)
    assert finetop("check", name, "--json")[0] == 0
    assert without_time(lines[0]) == without_time(queue_says[0]) == waits_for(other)


def test_a_check_of_a_run_that_waits_follows_it_to_its_verdict(finetop, rig, on_line):
    other = rig.submit("other", steps=3, waits_at=2)
    rig.wait_state(other, "running")
    name = rig.submit("one", steps=3, check=True, lost=LOST)
    lines = on_line("in the queue", lambda: (rig.job_folder(other) / "go").touch())
    code, out, err = finetop("check", name, "--json")
    assert (code, json.loads(out)["new"], checks_of(rig, name)) == (1, True, 1)
    assert lines[0].startswith(f"waiting for {name} to train and be checked. ")
    assert without_time(lines[1]) == waits_for(other)
    assert err.splitlines() == lines  # stdout has only the JSON document


def test_a_check_that_can_not_be_made_never_exits_as_regressed(finetop, rig, monkeypatch):
    rig.wait_state(rig.submit("broken", steps=2, end="crash"), "failed")
    wanted = "finetop: this run has no checkpoint. It has failed without one: finetop show broken.\n"
    assert finetop("check", "broken")[::2] == (2, wanted)
    name = trained(rig)
    assert finetop("check", name, "--last")[0] == 2
    for error, code in (
        (Refused("not now."), 4),
        (FinetopError("it went wrong."), 4),
        (ZeroDivisionError(), 70),
    ):

        def refuse(self, ask, error=error):
            raise error

        monkeypatch.setattr(Client, "ask", refuse)
        got, _, err = finetop("check", name)
        assert (got, "ZeroDivisionError" in err) == (code, code == 70)
        assert finetop("check", name, "--last")[0] == code


def test_a_suite_whose_rows_hold_no_item_is_refused_before_anything_is_queued(
    rig, finetop, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    name = trained(rig, "unasked")
    (tmp_path / "own.yaml").write_text("suite: 1\nname: own\ntasks: [{data: rows.jsonl}]\n")
    cases = {
        "": "rows.jsonl: has no rows",
        '{"text": "no question"}\n': "rows.jsonl:1: these keys do not form an item: id, text",
        '{"question": "q", "choices": ["a"], "answer": 0}\n': "rows.jsonl:1: choices is",
    }
    for rows, words in cases.items():
        (tmp_path / "rows.jsonl").write_text(rows)
        code, _, err = finetop("check", name, "--suite", "./own.yaml")
        assert (code, words in err) == (2, True), err
    assert checks_of(rig, name) == 0
