"""`finetop check`: an existing check is printed at once, a waiting one says for what, and 1 means REGRESSED only."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from finetop.core.client.connection import Client
from finetop.core.commands.shared import follow
from finetop.core.errors import FinetopError, Refused
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Queue
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.wording.queue import waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Rig

LOST = 20  # items lost in each task: REGRESSED
WAITS = "1st in the queue: waits for the one job slot; running: other"


def without_time(line: str) -> str:
    return re.sub(r", starts about \d\d:\d\d", "", line)


def checks_of(rig: Rig, name: str) -> int:
    return sum(job.verb == "check" for job in rig.ask(GetRun(name)).jobs)


def trained(rig: Rig, name: str = "one", **plan: object) -> str:
    rig.wait_state(rig.submit(name, steps=3, **plan), "finished")
    return name


@pytest.fixture
def on_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], list[str]]:
    """Call `do` once a followed check prints a text; returns the lines that it prints."""

    def of(text: str, do: Callable[[], object]) -> list[str]:
        lines: list[str] = []
        say = follow.JobProgress.say

        def said(self: follow.JobProgress, line: str) -> None:
            say(self, line)
            lines.append(line)
            if text in line and sum(text in one for one in lines) == 1:
                do()

        monkeypatch.setattr(follow.JobProgress, "say", said)
        return lines

    return of


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (LOST, 1)])
def test_what_was_checked_is_printed_at_once(finetop, rig, lost, code):
    name = trained(rig, lost=lost, check=True)
    rig.wait_job(name, "check")
    got, out, err = finetop("check", name)
    assert (got, err, checks_of(rig, name)) == (code, "", 1)
    assert f"Check again: finetop check {name} --again" in out.splitlines()[-1]
    got, out, _ = finetop("check", name, "--json")
    assert (got, json.loads(out)["new"], checks_of(rig, name)) == (code, False, 1)
    got, out, _ = finetop("check", name, "--again", "--json")
    assert (got, json.loads(out)["new"], checks_of(rig, name)) == (code, True, 2)
    finetop("check", name, "--margin", "5")
    assert checks_of(rig, name) == 3  # a claim other than the existing ones


def test_a_check_of_a_run_that_is_being_checked_follows_that_one(finetop, rig, on_line):
    name = trained(rig, lost=LOST, check=True, holds=["check"])
    lines = on_line("is already being checked", lambda: rig.let_go(name, "check"))
    code, out, _ = finetop("check", name)
    assert (code, "REGRESSED" in out, checks_of(rig, name)) == (1, True, 1)
    assert lines[0] == f"{name} is already being checked; following that check."


def test_a_check_of_another_step_comes_after_the_one_that_is_made(finetop, rig, on_line):
    name = trained(rig, saved=[2, 3], check=True, holds=["check"])
    lines = on_line("is being checked at step 3", lambda: rig.let_go(name, "check"))
    assert finetop("check", f"{name}@2")[0] == 0
    assert lines[0] == f"{name} is being checked at step 3; the check of {name}@2 comes after it."
    assert [job.args["step"] for job in rig.ask(GetRun(name)).jobs if job.verb == "check"] == [3, 2]


def test_a_check_that_waits_says_for_what_as_the_queue_does(finetop, rig, on_line):
    name = trained(rig)
    rig.wait_state(rig.submit("other", steps=3, waits_at=2), "running")
    queue_says: list[str] = []

    def look_then_let_go() -> None:
        answer = rig.ask(Queue())
        queue_says.append(waits(answer.rows[0], answer, time.time()))
        (rig.job_folder("other") / "go").touch()

    lines = on_line("in the queue", look_then_let_go)
    assert finetop("check", name, "--json")[0] == 0
    assert without_time(lines[0]) == without_time(queue_says[0]) == WAITS


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (LOST, 1)])
def test_a_check_of_a_run_that_waits_follows_it_to_its_verdict(finetop, rig, on_line, lost, code):
    rig.wait_state(rig.submit("other", steps=3, waits_at=2), "running")
    name = rig.submit("one", steps=3, check=True, lost=lost)
    lines = on_line("in the queue", lambda: (rig.job_folder("other") / "go").touch())
    got, out, err = finetop("check", name, "--json")
    assert (got, json.loads(out)["new"], checks_of(rig, name)) == (code, True, 1)
    assert lines[0].startswith(f"waits for {name} to be trained and checked. ")
    assert without_time(lines[1]) == WAITS
    assert err.splitlines() == lines  # stdout has only the JSON document


def test_a_run_that_failed_before_a_checkpoint_is_no_verdict_and_says_so(finetop, rig):
    rig.wait_state(rig.submit("one", steps=2, end="crash"), "failed")
    code, _, err = finetop("check", "one")
    assert (code, err) == (
        2,
        "finetop: this run has no checkpoint. It has failed without one: finetop show one.\n",
    )


@pytest.mark.parametrize("error", [Refused("not now."), FinetopError("it went wrong.")])
def test_a_check_that_can_not_be_made_never_exits_as_regressed(finetop, rig, monkeypatch, error):
    name = trained(rig)

    def refuse(self: Client, ask: object) -> object:
        raise error

    monkeypatch.setattr(Client, "ask", refuse)
    assert finetop("check", name)[0] == 4
    assert finetop("check", name, "--last")[0] == 4


def test_a_bug_shows_its_traceback_and_never_exits_as_an_answer(finetop, rig, monkeypatch):
    monkeypatch.setattr(Client, "ask", lambda self, ask: 1 / 0)
    code, _, err = finetop("check", "one")
    assert (code, "ZeroDivisionError" in err) == (70, True)


def test_the_newest_check_of_none_is_bad_input(finetop, rig):
    assert finetop("check", trained(rig), "--last")[0] == 2


def test_an_interrupt_leaves_the_check_under_way_and_says_so(finetop, rig, on_line):
    name = trained(rig, holds=["check"])

    def interrupt() -> None:
        raise KeyboardInterrupt

    on_line("check", interrupt)
    code, _, err = finetop("check", name)
    assert (code, f"the check of {name} keeps running. To follow it again: finetop check {name}" in err) == (
        130,
        True,
    )
    assert rig.ask(GetRun(name)).row.checking is not None
    rig.let_go(name, "check")


def test_more_of_a_check_that_scored_everything_is_that_check(finetop, rig):
    name = trained(rig, lost=LOST)
    assert finetop("check", name)[0] == 1
    code, out, _ = finetop("check", name, "--more", "--json")
    assert (code, json.loads(out)["new"], checks_of(rig, name)) == (1, False, 1)


def test_a_request_that_uses_no_other_check_is_refused_while_one_is_under_way(rig):
    name = trained(rig, holds=["check"])
    rig.ask(Check(name))
    with pytest.raises(FinetopError, match="already being checked"):
        rig.ask(Check(name))
    rig.let_go(name, "check")
