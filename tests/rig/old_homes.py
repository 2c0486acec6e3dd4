"""Homes as an older finetop left them."""

import json

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import migrations, open_store

RUN = (
    "INSERT INTO runs (id, name, model, method, objective, created, folder, recipe, source, state, rank)"
    " VALUES (1, 'old', 'tiny', 'lora', 'sft', 5.0, 'runs/0001-old', ?, 'recipe: 1', ?, 3)"
)
JOB = (
    "INSERT INTO jobs (id, run_id, verb, args, priority, created, folder, word, state, attempt, bytes_read, last_n)"
    " VALUES (1, 1, 'train', '{}', 10, 5.0, 'jobs/0001-train', ?, ?, 1, ?, 2)"
)
RECIPE = {
    "model": {"id": "tiny"},
    "method": {"name": "lora"},
    "objective": {"name": "sft"},
    "check": {"at_end": False},
}


def old_home(root, monkeypatch, count, *, live=False) -> Home:
    """A home as the finetop of the first `count` migrations left it, with one run that has two events taken in."""
    home = Home(root)
    prepare(home)
    only = migrations()[:count]
    with monkeypatch.context() as patch:
        patch.setattr("finetop.core.store.database.migrations", lambda: only)
        connection = open_store(home.database)
    folder = home.runs / "0001-old" / "jobs" / "0001-train"
    folder.mkdir(parents=True)
    (folder.parents[1] / "run.json").write_text(
        json.dumps({"format": 1, "id": 1, "name": "old", "created": 5.0, "recipe": RECIPE})
    )
    log = event_log.EventLog(folder / "events.jsonl")
    log.write(events.Started(1, 1, 1, "cpu", "float32", {}))
    log.write(events.metrics(1, {"loss": 0.5}))
    size = (folder / "events.jsonl").stat().st_size
    log.write(events.metrics(2, {"loss": 0.4}))
    log.close()
    state = '{"type":"running","since":5.0}' if live else '{"type":"finished","since":5.0,"ended":9.0}'
    connection.execute(RUN, [json.dumps(RECIPE), state])
    connection.execute(JOB, ["running" if live else "finished", state, size])
    connection.execute("INSERT INTO metrics VALUES (1, 'loss', 1, 6.0, 0.5, NULL)")
    if not live:
        columns, more = ("", "") if count == 1 else (", job_id", ", 1")
        connection.execute(
            f"INSERT INTO checks (id, run_id, step, time, verdict, result{columns})"
            f" VALUES (1, 1, 1, 7.0, 'ok', '{{}}'{more})"
        )
    connection.close()
    return home
