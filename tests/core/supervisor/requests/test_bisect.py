"""Since which checkpoint a run has regressed: checks that follow automatically until it is known."""

import asyncio

import pytest
from triage_store import told_of
from waiting import wait_until

from finetop.core.data.weight_files import model_hash
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import LookAtCell
from finetop.core.protocol.messages.bisect import Earlier, LookEarlier
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import Failed, Finished, State, Stopped
from finetop.core.store import jobs, runs
from finetop.core.supervisor.endings import after_job
from finetop.core.supervisor.requests import bisect


@pytest.mark.slow
def test_one_order_finds_the_checkpoint_that_lost_it(rig) -> None:
    name = rig.submit("bad", steps=6, saved=[2, 4, 6], lost={"2": 0, "4": 30, "6": 30})
    rig.wait_state(name, "finished")
    before = rig.ask(Earlier(name))
    assert (before.unseen, before.most, before.text) == (3, 3, "")
    answer = rig.ask(LookEarlier(name, on=True))
    assert (answer.step, answer.message) == (
        6, "step 6 of bad is queued for a check; the next follows by itself until it is known."
    )  # fmt: skip
    reply = wait_until(lambda: not (now := rig.ask(Earlier(name))).most and now, lambda: rig.about(name))
    assert (reply.unseen, reply.text) == (0, "regressed since step 4 (all checkpoints were checked).")
    looks = [job for job in rig.ask(GetRun(name)).jobs if job.verb == "check"]
    assert [job.args["step"] for job in looks] == [6, 2, 4]
    assert [job.args["watch"] for job in looks] == [False, True, True]
    assert rig.ask(GetRun(name)).row.check.step == 6, "what it is known by stays its own claim"


def test_what_can_not_be_used_is_left_out_and_a_stop_ends_them(quiet) -> None:
    supervisor = quiet.supervisor
    run = quiet.run("bad", (300, 600, 900, 1200))
    for step, count in ((1200, 9), (300, 0)):
        told = told_of({"arith": (count, 0)}, step, suite="quick")
        quiet.job(run, "check", told, Finished(1.0, 2.0), watch=step == 300)
    found = asyncio.run(bisect.estimate(supervisor, Earlier("bad")))
    assert (found.unseen, found.most) == (2, 2)
    assert _offered(supervisor) == [600, 900]
    folder = supervisor.home.root / runs.detail(supervisor.connection, run).folder
    (lost,) = folder.glob("checkpoints/*600/manifest.json")
    lost.parent.rename(folder / "elsewhere")
    assert _offered(supervisor) == [900], "the next step offers what its key can do"
    (folder / "elsewhere").rename(lost.parent)

    def ends(state: State) -> list[int]:
        """End the waiting check, and return the steps that wait then."""
        (job,) = jobs.queued(supervisor.connection)
        assert job.verb == "check"
        after_job.settle(supervisor, job, state, None)
        return [queued_job.args["step"] for queued_job in jobs.queued(supervisor.connection)]

    begin = LookEarlier("bad", on=True)
    assert asyncio.run(bisect.check_next(supervisor, begin)).step == 900
    assert ends(Stopped(2.0, "stop", 1.0)) == []

    assert asyncio.run(bisect.check_next(supervisor, begin)).step == 900
    broken = Failed(2.0, "weights.safetensors is cut", "", 1.0, exit_code=2, kind="bad_input")
    assert ends(broken) == [600], "it says nothing of those before it"
    away = Failed(2.0, "no such device", "", 1.0, exit_code=4, kind="environment")
    assert ends(away) == [600], "it is tried again"


def test_a_verdict_of_weights_that_changed_since_counts_as_none(quiet) -> None:
    supervisor = quiet.supervisor
    run = quiet.run("bad", (300, 600, 900))
    folder = quiet.home.root / runs.detail(supervisor.connection, run).folder / "checkpoints"
    of_now = {"tuned": {"weights": model_hash(folder / "step-000900", quiet.home)}}
    of_others = {"tuned": {"weights": "0" * 64}}
    for step, lost, models in ((900, 9, of_now), (600, 9, of_others), (300, 0, of_others)):
        told = told_of({"arith": (lost, 0)}, step, suite="quick", models=models)
        quiet.job(run, "check", told, Finished(1.0, 2.0), watch=step != 900)
    found = asyncio.run(bisect.estimate(supervisor, Earlier("bad")))
    assert found.unseen == 2 and found.text.startswith("regressed since step 900")
    asked = asyncio.run(bisect.check_next(supervisor, LookEarlier("bad", on=True)))
    assert asked.step == 300, "the oldest, which had been OK"


def _offered(supervisor) -> list[int]:
    return asyncio.run(triage.cell(supervisor, LookAtCell("bad"))).not_looked_at
