"""Records of runs: what changes while they are written is written the next time."""

import json

from finetop.core.store import records
from finetop.core.store.open import transaction


def test_a_run_that_is_marked_while_its_record_is_written_stays_marked(quiet):
    connection, root = quiet.supervisor.connection, quiet.home.root
    quiet.queue("one")
    quiet.queue("two")
    found = records.marked(connection, root)
    with transaction(connection):  # what was gathered does not tell this
        connection.execute("UPDATE runs SET note = 'changed' WHERE name = 'one'")
        records.mark_run(connection, 1)
    records.write(found, root)
    records.unmark(connection, found)
    assert quiet.rows("SELECT DISTINCT run_id FROM unrecorded") == [(1,)]
    assert records.write_marked(connection, root)
    assert not records.write_marked(connection, root)
    told = json.loads((quiet.home.runs / "0001-one" / "run.json").read_text())
    assert told["store"]["run"]["note"] == "changed"
    assert records.told_number(root) == records.number_of(connection) == 2
