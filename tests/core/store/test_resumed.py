"""A run that went back to a checkpoint has one curve in the store, and its claims stay used."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.store import checks, claims, ingest, jobs, metrics, parents, runs
from finetop.core.store.database import open_store

RECIPE = {
    "model": {"id": "tiny"}, "method": {"name": "lora"}, "objective": {"name": "sft"}, "check": {"every": 5},
}  # fmt: skip


@pytest.fixture
def connection(tmp_path):
    store = open_store(tmp_path / "finetop.duckdb")
    yield store
    store.close()


def add_run(connection, name="r"):
    number = runs.next_run_id(connection)
    runs.add_run(connection, run_id=number, name=name, folder=f"runs/{number}", recipe=RECIPE, source="")
    return number


def verdict(step: int, claim: int) -> events.Verdict:
    plain: dict[str, Any] = {"verdict": "ok", "reason": "", "margin": 0.03, "items_used": 9, "items_total": 9}
    return events.Verdict(step, {**plain, "claim": claim})


def told(first: int, last: int, loss: float) -> list[events.Event]:
    event_list: list[events.Event] = [events.metrics(step, {"loss": loss}) for step in range(first, last + 1)]
    event_list += [events.Checkpoint(step, f"checkpoints/step-{step}", 1, "full") for step in (first, last)]
    return [
        *event_list,
        events.Sample(last, 0, "p", "t"),
        events.Alarm("nan", last, "a"),
        events.metrics(last, {"x": 1.0}),
    ]


@pytest.mark.parametrize("in_one_file", [True, False])
def test_what_was_told_of_later_steps_is_gone(connection, tmp_path, in_one_file):
    number = add_run(connection)
    read = events.DataRead("faq.jsonl", 9, 9, 0, 0, 5, 40, "f")
    before = [read, *told(1, 6, 2.0), verdict(5, 1), *told(7, 10, 3.0), verdict(10, 2)]
    after = [read, events.Resumed(6), *told(7, 8, 1.0), verdict(10, 3)]
    if in_one_file:
        jobs_told = [
            [
                events.Started(1, 1, 1, "cpu", "f", {}),
                *before,
                events.Started(1, 2, 1, "cpu", "f", {}),
                *after,
            ]
        ]
    else:
        jobs_told = [[events.Started(1, 1, 1, "cpu", "f", {}), *part] for part in (before, after)]
    for index, part in enumerate(jobs_told):
        job, _ = jobs.add_job(connection, run_id=number, verb="train", args={}, priority=10)
        file = tmp_path / f"{index}.jsonl"
        log = event_log.EventLog(file)
        for event in part:
            log.write(event)
        log.close()
        while ingest.take_in(connection, job, file):
            pass
    rows = metrics.steps(connection, number, after=-1, limit=100)
    assert [(row.step, row.values["loss"]) for row in rows] == [(n, 2.0) for n in range(1, 7)] + [
        (7, 1.0),
        (8, 1.0),
    ]
    detail = runs.detail(connection, number)
    assert (detail.row.step, detail.row.metrics) == (8, {"loss": 1.0, "x": 1.0})
    assert [checkpoint.step for checkpoint in detail.checkpoints] == [1, 6, 7, 8]
    assert [checkpoint.step for checkpoint in detail.samples] == [6, 8]
    assert [checkpoint.step for checkpoint in detail.alarms] == [6, 8]
    assert [(checkpoint.step, checkpoint.claim) for checkpoint in detail.checks] == [(10, 3), (5, 1)]
    assert len(detail.data) == 1
    assert [found["claim"] for found in checks.results(connection, number)] == [3, 1]
    assert claims.claim_of(connection, number, 20).claim in (0, 4)
    kept = 0 if in_one_file else 1  # a job that checks a step again replaces its earlier result
    assert connection.execute("SELECT count(*) FROM checks WHERE superseded").fetchone() == (kept,)


def test_a_run_that_begins_anew_has_nothing_of_before(connection, tmp_path):
    number = add_run(connection)
    job, _ = jobs.add_job(connection, run_id=number, verb="train", args={}, priority=10)
    log = event_log.EventLog(tmp_path / "e.jsonl")
    for event in (
        events.metrics(0, {"kl": 0.0}),
        *told(1, 3, 2.0),
        events.Resumed(0),
        events.metrics(0, {"kl": 0.0}),
    ):
        log.write(event)
    log.close()
    ingest.take_in(connection, job, tmp_path / "e.jsonl")
    rows = metrics.steps(connection, number, after=-1, limit=100)
    assert [(row.step, row.values) for row in rows] == [(0, {"kl": 0.0})]
    assert runs.detail(connection, number).checkpoints == []


def test_parents_are_waited_for_until_they_have_finished(connection):
    from finetop.core.protocol import runs as data

    first, second = add_run(connection, "a"), add_run(connection, "b")
    jobs.add_job(connection, run_id=second, verb="train", args={}, priority=10)
    parents.add(connection, second, [parents.Parent(first, "model.id", None)])
    assert parents.waiting(connection) == {second: "waits for a"}
    runs.set_state(connection, first, data.Lost(1.0, "gone"))
    assert jobs.places(connection)[0][second].because == "waits for a, which is lost: finetop retry a"
    runs.set_state(connection, first, data.Finished(1.0, 2.0))
    assert parents.waiting(connection) == {}
    parents.pin(connection, second, "model.id", 40)
    runs.set_state(
        connection, first, data.Running(3.0)
    )  # resumed: a run that starts from its step 40 need not wait
    assert parents.waiting(connection) == {}
    assert msgspec.to_builtins(runs.detail(connection, second).parents[0]) == {
        "id": first, "name": "a", "setting": "model.id", "step": 40,
    }  # fmt: skip
    assert [child.name for child in runs.detail(connection, first).children] == ["b"]
