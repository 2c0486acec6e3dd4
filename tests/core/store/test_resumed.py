"""A run that went back to a checkpoint has one curve in the store, and its claims stay used."""

import functools
from typing import Any

import msgspec
import pytest
import store_rows
from store_rows import take_in

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.numbers_from import FilesLeftOut, NumbersFrom, ReadFile
from finetop.core.store import checks, claims, jobs, metrics, parents, runs

add_run = functools.partial(store_rows.add_run, check={"every": 5})


def verdict(step: int, claim: int) -> events.Verdict:
    plain: dict[str, Any] = {"verdict": "ok", "reason": "", "margin": 0.03, "items_used": 9, "items_total": 9}
    return events.Verdict(step, {**plain, "claim": claim})


def told(first: int, last: int, loss: float) -> list[events.Event]:
    event_list: list[events.Event] = [events.metrics(step, {"loss": loss}) for step in range(first, last + 1)]
    event_list += [events.Checkpoint(step, f"checkpoints/step-{step}", 1, "full") for step in (first, last)]
    rest = [events.Sample(last, 0, "p", "t"), events.Alarm("nan", last, "a")]
    return [*event_list, *rest, events.metrics(last, {"x": 1.0})]


@pytest.mark.parametrize("in_one_file", [True, False])
def test_what_was_told_of_later_steps_is_gone(connection, tmp_path, in_one_file):
    number = add_run(connection)
    read = events.DataRead("faq.jsonl", 9, 9, 0, 0, 5, 40, "f")
    before = [read, *told(1, 6, 2.0), verdict(5, 1), *told(7, 10, 3.0), verdict(10, 2)]
    after = [read, events.Resumed(6), *told(7, 8, 1.0), verdict(10, 3)]
    started = [events.Started(1, attempt, 1, "cpu", "f", {}) for attempt in (1, 2)]
    if in_one_file:
        jobs_told = [[started[0], *before, started[1], *after]]
    else:
        jobs_told = [[started[0], *part] for part in (before, after)]
    for index, part in enumerate(jobs_told):
        job = store_rows.add(connection, run_id=number)[1]
        take_in(connection, job, tmp_path / str(index), *part)
    rows = metrics.steps(connection, number, after=-1, limit=100)
    assert [(row.step, row.values["loss"]) for row in rows] == [
        *((n, 2.0) for n in range(1, 7)), (7, 1.0), (8, 1.0),
    ]  # fmt: skip
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
    job = store_rows.add(connection, run_id=number)[1]
    first = events.metrics(0, {"kl": 0.0})
    take_in(connection, job, tmp_path / "e", first, *told(1, 3, 2.0), events.Resumed(0), first)
    rows = metrics.steps(connection, number, after=-1, limit=100)
    assert [(row.step, row.values) for row in rows] == [(0, {"kl": 0.0})]
    assert runs.detail(connection, number).checkpoints == []


@pytest.mark.parametrize("chunks", [1, 2])
def test_what_was_taken_back_is_gone_and_where_the_numbers_come_from_is_kept(connection, tmp_path, chunks):
    """Also the values of step 0, and what was planned."""
    number = add_run(connection)
    job = store_rows.add(connection, run_id=number, verb="command")[1]
    foreign = [events.Planned(99, 0, 0, 0, 0, 0, 0), events.metrics(0, {"loss": 9.0}), *told(1, 195, 9.0)]
    read = ReadFile("stdout", "log.txt", "it is the run's own", ["loss"])
    left_out = FilesLeftOut("trackio", "demo.db", 1, "this program names no run in it")
    own: list[events.Event] = [
        events.TakenBack(0, "demo.db", "this program names no run in it"),
        events.Planned(0, 0, 0, 0, 0, 0, 0),
        *told(1, 3, 2.0),
        NumbersFrom([read], [left_out]),
    ]
    for part in [[*foreign, *own]] if chunks == 1 else [foreign, own]:
        take_in(connection, job, tmp_path / "e", *part)
    rows = metrics.steps(connection, number, after=-1, limit=1000)
    assert [(row.step, row.values["loss"]) for row in rows] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    detail = runs.detail(connection, number)
    assert (detail.row.step, detail.row.steps, [alarm.step for alarm in detail.alarms]) == (3, 0, [3])
    assert detail.numbers_from == NumbersFrom([read], [left_out])


def test_parents_are_waited_for_until_they_have_finished(connection):
    first, second = add_run(connection, "a"), add_run(connection, "b")
    store_rows.add(connection, run_id=second)
    parents.add(connection, second, [parents.Parent(first, "model.id", None)])
    assert parents.waiting(connection) == {second: "waits for a"}
    runs.set_state(connection, first, data.Lost(1.0, "gone"))
    assert jobs.places(connection)[0][second].because == "waits for a, which is lost: finetop retry a"
    runs.set_state(connection, first, data.Finished(1.0, 2.0))
    assert parents.waiting(connection) == {}
    parents.pin(connection, second, "model.id", 40)
    runs.set_state(connection, first, data.Running(3.0))  # resumed: who starts from its step 40 need not wait
    assert parents.waiting(connection) == {}
    assert msgspec.to_builtins(runs.detail(connection, second).parents[0]) == {
        "id": first, "name": "a", "setting": "model.id", "step": 40,
    }  # fmt: skip
    assert [child.name for child in runs.detail(connection, first).children] == ["b"]
