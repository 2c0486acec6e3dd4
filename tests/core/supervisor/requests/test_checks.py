"""Requested checks: continued after their verdict, as the same claim on more items."""

import asyncio

import pytest
from still import verdict
from store_rows import take_in
from triage_store import told_of

from finetop.core.errors import EnvironmentTrouble, NotFound, Refused
from finetop.core.features.triage import sql as triage
from finetop.core.features.triage.messages import TriageRun
from finetop.core.protocol import events
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.runs import Finished
from finetop.core.runtime import parts
from finetop.core.store import jobs, runs
from finetop.core.supervisor.endings import after_job
from finetop.core.supervisor.requests import checks


def test_a_check_goes_on_with_the_items_that_are_left(quiet) -> None:
    supervisor = quiet.supervisor
    run = quiet.run("bad", (1200,))
    told = told_of({"arith": (9, 0), "words": (0, 0)}, 1200, suite="quick", seconds=80.0, items_scored=40)
    quiet.job(run, "check", told, Finished(1.0, 2.0))
    assert triage.run_detail(supervisor.connection, TriageRun("bad")).item_s == 2.0
    with pytest.raises(NotFound, match="no task 'arit'") as error:
        asyncio.run(checks.check(supervisor, Check("bad", more=["arit"])))
    assert "Did you mean arith?" in error.value.hint

    asyncio.run(checks.check(supervisor, Check("bad", more=["arith"])))
    (job,) = jobs.queued(supervisor.connection)
    assert (job.args["more"], job.args["claim"], job.args["watch"]) == (["arith"], 0, False)
    with pytest.raises(Refused, match="already being checked"):
        asyncio.run(checks.check(supervisor, Check("bad", more=[])))


def test_a_gguf_file_is_not_queued_for_a_check_without_llama_cpp(quiet, monkeypatch) -> None:
    connection = quiet.supervisor.connection
    run = quiet.run("file", (1,))
    recipe = runs.recipe(connection, run)
    recipe["method"] = {"name": "gguf"}
    recipe["objective"] = {"name": "imported"}
    runs.set_recipe(connection, run, recipe, recipe["model"]["id"])
    monkeypatch.setattr(parts, "find_spec", lambda package: None)
    with pytest.raises(EnvironmentTrouble, match=r"needs finetop\[gguf\]: pip install"):
        asyncio.run(checks.check(quiet.supervisor, Check("file")))


def test_a_check_that_has_asked_everything_does_not_go_on(quiet) -> None:
    run = quiet.run("good", (1,))
    quiet.job(run, "check", [events.Verdict(1, verdict(0))], Finished(1.0, 2.0))
    for more, what in (([], "the suite"), (["task"], "task")):
        with pytest.raises(Refused, match=f"every item of {what} has been scored"):
            asyncio.run(checks.check(quiet.supervisor, Check("good", more=more)))
    asyncio.run(checks.check(quiet.supervisor, Check("good")))  # the same check again


def test_a_run_whose_recipe_names_nothing_to_keep_is_not_checked_at_its_end(quiet) -> None:
    connection = quiet.supervisor.connection
    for name, general, verbs in (("free", None, []), ("bound", {"suite": "quick"}, ["check"])):
        run = quiet.queue(name)
        recipe = runs.recipe(connection, run)
        recipe["check"] |= {"at_end": True, "general": general}
        runs.set_recipe(connection, run, recipe, recipe["model"]["id"])
        (job,) = jobs.queued(connection)
        saved = events.Checkpoint(3, "checkpoints/step-000003", 1, "adapter")
        take_in(connection, job.id, quiet.home.root / f"{name}.jsonl", saved)
        after_job.settle(quiet.supervisor, job, Finished(1.0, 2.0), None)
        assert [waiting.verb for waiting in jobs.queued(connection)] == verbs
