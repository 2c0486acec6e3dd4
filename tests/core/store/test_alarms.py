"""Alarms in the store: raised, closed, gone back behind; the same whether their lines come at once or in pieces."""

import pytest
import store_rows

from finetop.core.protocol import events, runs as data
from finetop.core.store import ingest, notices, runs


def alarm(kind, step, over=False):
    return events.Alarm(kind, step, f"{kind} at {step}", over)


@pytest.fixture
def connection(connection):
    """A store with the training run 1."""
    store_rows.add(connection, state=data.Running(since=1.0))
    return connection


def take(connection, path, told):
    store_rows.take_in(connection, 1, path, *told)


def rows(connection, run=1):
    return [(alarm.kind, alarm.step, alarm.over_step) for alarm in runs.detail(connection, run).alarms]


def ingested(connection, folder, told):
    """Ingest events at once and in pieces, each time as another run's. Return their rows by the size of a piece."""
    found = {}
    for size in (len(told), 1, 2, 3):
        run, job = store_rows.add(connection, state=data.Running(since=1.0))
        for first in range(0, len(told), size):
            store_rows.take_in(connection, job, folder / f"{size}", *told[first : first + size])
        found[size] = rows(connection, run)
    return found


def test_an_alarm_is_over_and_may_come_again(connection, tmp_path):
    told = [
        alarm("spike", 5), alarm("nan", 6), alarm("spike", 9, over=True), alarm("spike", 12),
        alarm("drift", 13, over=True), alarm("nan", 20, over=True), alarm("nan", 30), alarm("nan", 31),
        alarm("nan", 40, over=True),
    ]  # fmt: skip
    over = [("spike", 5, 9), ("nan", 6, 20), ("spike", 12, None), ("nan", 30, 40), ("nan", 31, 40)]
    assert ingested(connection, tmp_path, told) == dict.fromkeys((9, 1, 2, 3), over)


def test_a_run_that_goes_back_begins_with_none(connection, tmp_path):
    told = [
        alarm("spike", 5), alarm("nan", 6), alarm("spike", 20, over=True), alarm("nan", 21),
        events.Resumed(10), alarm("spike", 15), alarm("nan", 16), alarm("nan", 18, over=True),
    ]  # fmt: skip
    over = [("spike", 5, 10), ("nan", 6, 10), ("spike", 15, None), ("nan", 16, 18)]
    assert ingested(connection, tmp_path, told) == dict.fromkeys((8, 1, 2, 3), over)


def test_a_run_needs_a_person_as_long_as_an_alarm_is_not_over(connection, tmp_path):
    path = tmp_path / "e.jsonl"
    assert not runs.row(connection, 1).needs_you
    take(connection, path, [alarm("spike", 5)])
    assert (runs.row(connection, 1).needs_you, runs.row(connection, 1).alarm) == (True, "spike at 5")
    take(connection, path, [alarm("spike", 9, over=True)])
    assert (runs.row(connection, 1).needs_you, runs.row(connection, 1).alarm) == (False, "")
    take(connection, path, [alarm("nan", 10)])
    runs.set_state(connection, 1, data.Finished(since=1.0, ended=2.0))
    assert not runs.row(connection, 1).needs_you


def test_a_flood_is_kept_and_listed_from_its_end(connection, tmp_path):
    take(connection, tmp_path / "e.jsonl", [alarm("spike", step) for step in range(10_000)])
    detail = runs.detail(connection, 1)
    assert (detail.alarms_total, len(detail.alarms)) == (10_000, 100)
    assert [detail.alarms[0].step, detail.alarms[-1].step] == [9900, 9999]
    (group,) = notices.untold(connection)
    assert (group.newest.step, group.more) == (9999, 9999)


def test_notices_have_numbers_that_grow_and_are_told_by_kind(connection, tmp_path):
    alarms = [alarm("spike", 5), alarm("spike", 7), alarm("spike", 9, over=True)]
    take(connection, tmp_path / "e.jsonl", alarms)
    notices.add_ending(connection, 1, data.Failed(3.0, "out of memory", "Lower it."))
    groups = notices.untold(connection)
    newest = [(group.newest, group.more) for group in groups]
    assert [(notice.run, notice.kind, notice.step, notice.text, more) for notice, more in newest] == [
        ("r1", "spike", 7, "spike at 7", 1), ("r1", "over", 9, "spike at 9", 0),
        ("r1", "failed", 0, "out of memory Lower it.", 0),
    ]  # fmt: skip
    notices.mark_told(connection, groups[:1])
    assert [group.newest.kind for group in notices.untold(connection)] == ["over", "failed"]
    later = notices.since(connection, groups[0].newest.id, 10)
    assert [group.kind for group in later] == ["failed", "over"]
    assert [group.id for group in later] == sorted({group.id for group in later}, reverse=True)


def test_what_is_read_again_is_not_told_again(connection, tmp_path):
    assert ingest.take_in(connection, 1, store_rows.write(tmp_path / "e", alarm("spike", 5)), tells=False)
    assert (rows(connection), notices.untold(connection)) == ([("spike", 5, None)], [])


def test_told_notices_go_but_for_the_newest(connection):
    notices.add(connection, [notices.New(1, "nan", step, "x", 1.0) for step in range(notices.KEPT + 50)])
    notices.mark_told(connection, notices.untold(connection))
    kept = connection.execute("SELECT count(*), max(step) FROM notices").fetchall()
    assert kept == [(notices.KEPT, notices.KEPT + 49)]
