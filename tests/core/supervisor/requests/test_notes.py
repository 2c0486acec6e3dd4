"""Tags and notes: changed, refused with a message, and restored by a rebuild."""

import pytest

from finetop.core.errors import BadInput, NotFound
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import SetStanding
from finetop.core.protocol.messages.notes import Note, Tag
from finetop.core.protocol.runs import Failed, Lost
from finetop.core.protocol.standing import Standing
from finetop.core.store import run_list, run_records, runs
from finetop.core.store.database import open_store, transaction
from finetop.core.supervisor.rebuild import rebuild
from finetop.core.supervisor.requests import notes


def taken_anew(quiet, *queries):
    """Return the rows of queries of a store into which the runs were taken anew from their folders."""
    supervisor = quiet.supervisor
    run_records.write_marked(supervisor.connection, supervisor.home.root)
    fresh = open_store(supervisor.home.root / "fresh.duckdb")
    rebuild.add_run(fresh, supervisor.home, next(supervisor.home.runs.glob("*-a")))
    rows = [fresh.execute(query).fetchall() for query in queries]
    fresh.close()
    return rows


def test_tags_and_a_note_change_and_survive_a_rebuild(quiet):
    supervisor = quiet.supervisor
    quiet.queue("a")
    answer = notes.tag(supervisor, Tag("a", ["keep", "seed:1"]))
    assert (answer.tags, answer.added, answer.dropped) == (["keep", "seed:1"], ["keep", "seed:1"], [])
    answer = notes.tag(supervisor, Tag("a", ["keep", "x"], ["seed:1", "never"]))
    assert (answer.tags, answer.added, answer.dropped) == (["keep", "x"], ["x"], ["seed:1"])
    assert notes.note(supervisor, Note("a", "too\nhot \x1b[31m")).note == "too hot"
    assert notes.note(supervisor, Note("a", "fixed")).before == "too hot"
    rows = taken_anew(quiet, "SELECT tags, note FROM runs", "SELECT count(*) > 30 FROM settings")
    assert rows == [[('["keep","x"]', "fixed")], [(True,)]]
    # what is no tag, and too much, is refused
    for tag in ("", "a b", "-x", "\x1b[31m", "x" * 41):
        with pytest.raises(BadInput, match="is not a tag"):
            notes.tag(supervisor, Tag("a", [tag]))
    with pytest.raises(BadInput, match="would have 21 tags; the limit is 20"):
        notes.tag(supervisor, Tag("a", [f"t{number}" for number in range(19)]))
    with pytest.raises(BadInput, match="the limit is 2,000"):
        notes.note(supervisor, Note("a", "x" * 2001))
    with pytest.raises(NotFound):
        notes.tag(supervisor, Tag("b", ["x"]))
    for key in ("reason", "note"):  # what is said of a regression holds no secret
        standing = Standing("accepted", **{key: "see hf_" + "aB3dE6gH9jK2mN5pQ8" * 2})
        with pytest.raises(BadInput, match="shown to all"):
            triage.set_standing(supervisor, SetStanding("a", standing=standing))


def test_a_failure_that_was_seen_needs_nobody_until_it_fails_once_more(quiet):
    supervisor, connection = quiet.supervisor, quiet.supervisor.connection
    failed, _ = quiet.queue("a"), quiet.queue("waits")
    with transaction(connection):
        runs.set_state(connection, failed, Failed(1.0, "out of memory"))

    def listed():
        page = run_list.page(connection, filter="", sort="needs_you", offset=0, limit=9, revision=0, now=2.0)
        return [(row.name, row.needs_you) for row in page.rows]

    assert listed() == [("a", True), ("waits", False)]
    notes.tag(supervisor, Tag("a", ["seen"]))
    assert listed() == [("waits", False), ("a", False)]
    assert taken_anew(quiet, "SELECT rank, tags FROM runs") == [[(runs.DONE, '["seen"]')]]
    notes.tag(supervisor, Tag("a", [], ["seen"]))
    assert listed() == [("a", True), ("waits", False)]
    notes.tag(supervisor, Tag("a", ["seen", "keep"]))
    with transaction(connection):
        runs.queue_again(connection, failed)
        runs.set_state(connection, failed, Lost(3.0, "the machine restarted"))
    assert listed() == [("a", True), ("waits", False)]
    assert runs.row(connection, failed).tags == ["keep"]
