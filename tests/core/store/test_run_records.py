"""Records of runs: changes made during a write are written the next time."""

import json

from finetop.core.store import run_records
from finetop.core.store.database import transaction


def test_a_run_that_is_marked_while_its_record_is_written_stays_marked(quiet):
    connection, root = quiet.supervisor.connection, quiet.home.root
    quiet.queue("one")
    quiet.queue("two")
    records = run_records.marked(connection, root)
    with transaction(connection):  # not in the records collected before
        connection.execute("UPDATE runs SET note = 'changed' WHERE name = 'one'")
        run_records.mark_run(connection, 1)
    run_records.write(records, root)
    run_records.unmark(connection, records)
    assert quiet.rows("SELECT DISTINCT run_id FROM unrecorded") == [(1,)]
    assert run_records.write_marked(connection, root)
    assert not run_records.write_marked(connection, root)
    record = json.loads((quiet.home.runs / "0001-one" / "run.json").read_text())
    assert record["store"]["run"]["note"] == "changed"
    assert run_records.stored_number(root) == run_records.number_of(connection) == 2
