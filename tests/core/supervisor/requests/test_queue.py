"""Changes of the queue by the user: order, priorities, holds; what may start then, and the reasons of the rest."""

import os
import time

import pytest
import run_states

from finetop.core.errors import BadInput, NotFound, Refused
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import Hold, Move, Pause, Prioritise, Queue, Release, Stop
from finetop.core.store import jobs, run_list, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import watch_settings
from finetop.core.supervisor.queue import ready as waiting
from finetop.core.supervisor.requests import queue, stop_pause_kill

NOON = 1_768_478_400.0  # some day, 12:00 UTC


def ready(still, now=NOON):
    waiting.read(still.supervisor)
    return [job.run_name for job in waiting.ready(still.supervisor, now)]


def listed(still):
    ready(still)
    return [row.run for row in queue.listing(still.supervisor, Queue()).rows]


def move(still, run, to, other=""):
    return queue.move(still.supervisor, Move(run, to, other)).message


def hold(still, run=""):
    return queue.hold(still.supervisor, Hold(run)).message


def release(still, run=""):
    return queue.release(still.supervisor, Release(run)).message


def set_to(still, text):
    (still.home.root / "settings.yaml").write_text(f"settings: 1\n{text}\n")
    watch_settings.read(still.supervisor)


def because(still, run):
    ready(still)
    answer = run_list.page(
        still.supervisor.connection, filter=run, now=0.0, sort="name", offset=0, limit=1, revision=0,
        why=waiting.why(still.supervisor),
    )  # fmt: skip
    return answer.rows[0].state.because


@pytest.fixture
def queued(quiet):
    for name in ("a", "b", "c"):
        quiet.queue(name)
    return quiet


def test_runs_are_moved_and_start_in_the_new_order(queued):
    assert move(queued, "c", "first") == "c is first in the queue."
    assert listed(queued) == ready(queued) == ["c", "a", "b"]
    assert move(queued, "c", "last") == "c is last in the queue."
    assert move(queued, "c", "before", "b") == "c is now before b in the queue."
    assert listed(queued) == ready(queued) == ["a", "c", "b"]
    page = run_list.page(
        queued.supervisor.connection, filter="", now=0.0, sort="needs_you", offset=0, limit=9, revision=0
    )
    assert [(row.name, row.state.place) for row in page.rows] == [("a", 1), ("c", 2), ("b", 3)]


def test_a_priority_goes_before_the_place_and_a_check_before_both(queued):
    say = queue.prioritise(queued.supervisor, Prioritise("c", 5)).message
    assert say == "c has priority high, place 1."
    assert queue.prioritise(queued.supervisor, Prioritise("a", 20)).message.endswith("low, place 3.")
    assert ready(queued) == ["c", "b", "a"]
    run = queued.supervisor.connection.execute("SELECT id FROM runs WHERE name = 'a'").fetchone()[0]
    with transaction(queued.supervisor.connection):
        jobs.add_job(queued.supervisor.connection, run_id=run, verb="check", args={}, priority=0)
    assert ready(queued) == ["a", "c", "b", "a"]
    assert move(queued, "b", "first") == "b is first in the queue; its priority is 0 now."
    assert ready(queued) == ["b", "a", "c", "a"]


def test_a_held_run_waits_for_its_release_and_the_others_go_ahead(queued):
    assert hold(queued, "a") == "a is held. finetop queue release a releases it"
    assert (ready(queued), listed(queued)) == (["b", "c"], ["b", "c", "a"])
    row = queue.listing(queued.supervisor, Queue()).rows[-1]
    assert (row.state.held, row.state.because, row.do) == (True, "held", "finetop queue release a")
    assert move(queued, "a", "first") == "a is first in the queue, and held."
    # order and holds outlive the supervisor
    move(queued, "c", "before", "b")
    hold(queued)
    queued.close()
    queued.open()
    assert ready(queued) == []
    release(queued)
    assert (ready(queued), listed(queued)) == (["c", "b"], ["c", "b", "a"])
    assert release(queued, "a") == "a is released, place 1."
    assert ready(queued) == ["a", "c", "b"]
    with pytest.raises(Refused, match="a is not held"):
        release(queued, "a")


def test_a_held_queue_starts_nothing_and_says_so_of_every_run(queued):
    assert hold(queued).startswith("the queue is held: nothing starts, running jobs continue.")
    hold(queued)
    hold(queued, "b")
    assert ready(queued) == []
    assert [because(queued, run) for run in ("a", "b")] == ["the queue is held", "held"]
    assert queue.listing(queued.supervisor, Queue()).stopped == "the queue is held"
    assert release(queued, "b") == "b is released, place 2; the queue is held."
    assert release(queued) == "the queue is released."
    assert ready(queued) == ["a", "b", "c"]
    with pytest.raises(Refused, match="the queue is not held"):
        release(queued)


def test_what_can_not_be_is_refused_in_words(queued):
    queued.run("done")
    for ask, error, says in (
        (lambda s: move(s, "x", "first"), NotFound, "there is no run 'x'"),
        (lambda s: move(s, "done", "first"), Refused, "done is not waiting"),
        (lambda s: move(s, "a", "before"), BadInput, "before which run?"),
        (lambda s: move(s, "a", "before", "a"), BadInput, "a can't be moved before itself"),
        (lambda s: move(s, "a", "before", "done"), Refused, "done is not waiting"),
        (lambda s: hold(s, "done"), Refused, "is not waiting"),
        (lambda s: stop_pause_kill.pause(s.supervisor, Pause("done")), Refused, "there is nothing to pause"),
    ):
        with pytest.raises(error, match=says):
            ask(queued)


def test_a_try_waits_for_its_time_and_says_for_what(queued):
    connection = queued.supervisor.connection
    run = connection.execute("SELECT id FROM runs WHERE name = 'c'").fetchone()[0]
    job = jobs.queued(connection)[-1]
    retry = '{"retry": {"number": 2, "of": 3, "said": "killed by signal 9"}}'
    connection.execute("UPDATE jobs SET not_before = ?, args = ? WHERE id = ?", [NOON + 240, retry, job.id])
    assert ready(queued) == ["a", "b"]
    state = runs.row(connection, run, waiting.why(queued.supervisor)).state
    assert (state.because, state.tries, state.next_at) == ("killed by signal 9", "2nd of 3 tries", NOON + 240)
    assert ready(queued, NOON + 240) == ["a", "b", "c"]
    room = '{"retry": {"number": 2, "of": 3, "said": "disk full", "room": 1000000000000000}}'
    connection.execute("UPDATE jobs SET args = ? WHERE id = ?", [room, job.id])
    assert ready(queued, NOON + 240) == ["a", "b"]
    assert waiting.why(queued.supervisor)[job.id] == "the disk is full: waits for 931323 GiB of room"


def test_in_quiet_hours_nothing_starts_and_what_runs_rests_if_it_is_to(queued, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    supervisor = queued.supervisor
    first = jobs.queued(supervisor.connection)[0].id
    with transaction(supervisor.connection):
        jobs.set_state(supervisor.connection, first, data.Running(since=1.0))
    supervisor.live = jobs.live(supervisor.connection)
    set_to(queued, 'quiet_hours: {from: "11:00", to: "13:30"}')
    waiting.apply_quiet_hours(supervisor, NOON)
    assert (ready(queued), because(queued, "b")) == ([], "quiet until 13:30")
    assert supervisor.live[0].asked == jobs.live(supervisor.connection)[0].asked == ""
    set_to(queued, 'quiet_hours: {from: "11:00", to: "13:30", pause: true}')
    waiting.apply_quiet_hours(supervisor, NOON + 5400)
    assert ready(queued, NOON + 5400) == ["b", "c"], "it is over"
    assert jobs.live(supervisor.connection)[0].asked == ""
    watch_settings.read(supervisor)
    waiting.apply_quiet_hours(supervisor, NOON)
    live = jobs.live(supervisor.connection)[0]
    assert (live.asked, live.state.asked) == ("rest", "pause")
    monkeypatch.undo()
    time.tzset()


def test_a_settings_file_with_a_fault_is_told_of_nothing_starts_and_what_held_before_holds(queued):
    supervisor = queued.supervisor
    set_to(queued, "retry: {times: 7}")
    assert (supervisor.settings.retry.times, supervisor.settings_fault) == (7, "")
    set_to(queued, "retry: {times: many}")
    assert supervisor.settings.retry.times == 7
    assert "settings.yaml:2: retry.times is 'many'" in supervisor.settings_fault
    assert ready(queued) == []
    assert "settings.yaml:2: retry.times is 'many'" in because(queued, "a")
    (queued.home.root / "settings.yaml").unlink()
    watch_settings.read(supervisor)
    assert (supervisor.settings.retry.times, supervisor.settings_fault) == (2, "")
    assert ready(queued) == ["a", "b", "c"]


PLACES = {
    "a link to nothing": lambda file, elsewhere: file.symlink_to(elsewhere / "gone.yaml"),
    "a loop": lambda file, elsewhere: file.symlink_to(file),
    "a pipe": lambda file, elsewhere: os.mkfifo(file),
    "a device": lambda file, elsewhere: file.symlink_to("/dev/zero"),
    "a folder": lambda file, elsewhere: file.mkdir(),
    "a huge file": lambda file, elsewhere: [file.touch(), os.truncate(file, 1 << 40)],
}


def test_settings_that_can_not_be_read_are_a_fault_and_not_no_settings(quiet, tmp_path):
    supervisor, file = quiet.supervisor, quiet.home.root / "settings.yaml"
    for name, place in PLACES.items():
        file.unlink(missing_ok=True)
        place(file, tmp_path)
        for _ in range(2):
            watch_settings.read(supervisor)
            assert "settings.yaml" in supervisor.settings_fault, name
        file.rename(tmp_path / f"away {name}")
        watch_settings.read(supervisor)
        assert supervisor.settings_fault == "", name
    # settings behind a link hold until its target goes
    (target := tmp_path / "mine.yaml").write_text("settings: 1\nretry: {times: 7}\n")
    file.symlink_to(target)
    watch_settings.read(supervisor)
    assert (supervisor.settings.retry.times, supervisor.settings_fault) == (7, "")
    target.unlink()
    watch_settings.read(supervisor)
    assert supervisor.settings.retry.times == 7  # running jobs keep the last valid settings
    assert "its link leads nowhere" in supervisor.settings_fault
    target.write_text("settings: 1\nretry: {times: 7}\n")
    watch_settings.read(supervisor)
    assert supervisor.settings_fault == ""


def test_remedies_that_run_are_named_with_how_far_they_are_and_a_stop_says_what_stays(quiet):
    run_states.remedies_running(quiet, "hot")
    asked = queue.listing(quiet.supervisor, Queue())
    (live,), (words,) = asked.live, asked.running
    assert words.startswith(f"hot (remedies 0 of {live.tried.total}") and live.tried.done == 0
    assert quiet.supervisor.connection.execute("SELECT count(*) FROM remedies").fetchone() == (0,)
    row = runs.row(quiet.supervisor.connection, asked.live[0].run_id)
    assert [(job.verb, job.tried.total) for job in row.side_jobs] == [("remedy", live.tried.total)]
    assert jobs.counts(quiet.supervisor.connection) == ({"remedy": 1}, 0)
    said = stop_pause_kill.stop(quiet.supervisor, Stop("hot")).message
    assert said == "stopping the remedies of hot. No scores yet."
    assert row.state == runs.row(quiet.supervisor.connection, row.id).state
