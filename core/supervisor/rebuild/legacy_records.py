"""Makes up a run's record from what an older finetop left in its folder: run.json of format 1 and the jobs' files.

What it kept in the database alone is lost: jobs that had not started, priorities, tags, notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol import events, runs as data
from finetop.core.runtime import job_folder
from finetop.core.runtime.files import open_regular
from finetop.core.runtime.job_process import attempt_of
from finetop.core.store.jobs import TRAIN_PRIORITY, Job
from finetop.core.supervisor.jobs import exit_reason, launch_local

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.runtime.home import Home


def record_of(home: Home, folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Give a record as store/records.py writes it. Raises BadInput when no job has left anything."""
    recipe = told["recipe"]
    found = [job for job in (_job(home, one, told) for one in sorted(folder.glob("jobs/*"))) if job]
    if not found:
        raise BadInput("none of its jobs has started, and only the lost database knew of them.")
    makes = [job for job in found if job["verb"] in data.MAKES_A_RUN]
    state = {**(makes or found)[-1]["state"]}
    state.pop("log", None)
    run = {
        "id": told["id"],
        "name": told["name"],
        "model": recipe["model"]["id"],
        "method": recipe["method"]["name"],
        "objective": recipe["objective"]["name"],
        "created": told["created"],
        "source": _text_of(folder / "recipe.yaml"),
        "state": state,
        "tags": "[]",
        "note": "",
    }
    return {**told, "store": {"run": run, "jobs": found, "checks": [], "tables": {}}}


def _job(home: Home, folder: Path, told: dict[str, Any]) -> dict[str, Any] | None:
    try:
        spec = job_folder.read_spec(folder)
        began = (folder / "job.json").stat().st_mtime
    except (OSError, msgspec.DecodeError):
        return None
    attempt = attempt_of(folder)
    last = _last_word(folder / "events.jsonl")
    job = Job(
        spec.job_id,
        told["id"],
        told["name"],
        spec.verb,
        spec.args,
        str(folder.relative_to(home.root)),
        data.Running(since=began, phase=data.STARTING),
        "",
        attempt,
        None,
    )
    facts = launch_local.exit_of(folder, attempt)
    state: data.State = job.state
    if facts is not None:  # else the next supervisor finds out what has become of it
        state = exit_reason.ending(job, facts, last, exit_reason.last_lines(folder, facts), rebooted=False)
    return {
        "id": spec.job_id,
        "run_id": told["id"],
        "verb": spec.verb,
        "args": msgspec.json.encode(spec.args).decode(),
        "priority": TRAIN_PRIORITY,
        "created": began,
        "folder": f"jobs/{folder.name}",
        "state": msgspec.to_builtins(state),
        "asked": "",
        "attempt": attempt,
        "ended_word": None if last is None else msgspec.json.encode(last).decode(),
    }


def _last_word(file: Path) -> events.Ended | None:
    """Read the last line, if it is how the job ended."""
    try:
        with open_regular(file) as opened:
            opened.seek(max(0, opened.seek(0, 2) - 65536))
            lines = opened.read().splitlines()
        event = events.decode(lines[-1]).e
    except (OSError, IndexError, events.Unreadable):
        return None
    return event if isinstance(event, events.Ended) else None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
