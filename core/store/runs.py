"""Runs in the store: adding one, its state, as a row of a list, and in full."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core import plugins
from finetop.core.errors import NotFound, near
from finetop.core.protocol import job_kinds, runs as data
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.protocol.tags import SEEN
from finetop.core.store import (
    alarms,
    checks,
    jobs,
    notes,
    parents,
    recipe_settings,
    run_records,
    triage_states,
)
from finetop.core.store.database import insert, json_text, one_row, one_value, read_as, update
from finetop.core.text import quoted

_state = msgspec.json.Decoder(data.State)
_brief = msgspec.json.Decoder(data.CheckBrief)

NEEDS_YOU, RUNNING, QUEUED, DONE = range(4)

# Fields of a row that are not the column of their name: any other is read as it is, or as the JSON of its type.
_MADE = (
    *("metrics", "check", "checking", "needs_you", "alarm", "left_s", "host", "settings", "group"),
    *("gpus", "others", "saved", "resumable"),
)
_OWN = {field.name: field.type for field in msgspec.structs.fields(data.RunRow) if field.name not in _MADE}
JSON = {name: of for name, of in _OWN.items() if of not in (int, float, str)}
_READ: dict[str, Callable[[str], Any]] = {name: msgspec.json.Decoder(of).decode for name, of in JSON.items()}
_READ["tags"] = notes.read_tags
_NAMES = [field.encode_name for field in msgspec.structs.fields(data.RunRow) if field.name in _OWN]
_COLUMNS = f"{', '.join(_NAMES)}, last, brief, rank, json_extract_string(recipe, '$.train.resumable')"
_CHECKPOINTS = "SELECT step, path, size_bytes, kind, time FROM checkpoints WHERE run_id = ? ORDER BY step"
_SAMPLES = "SELECT step, index, prompt, text FROM samples WHERE run_id = ? ORDER BY index, step"
_DATA = (
    "SELECT source, rows, kept, dropped, truncated, longest_tokens, answer_tokens, used"
    " FROM data_reports WHERE run_id = ?"
)


def add_run(
    connection: Connection,
    *,
    run_id: int,
    name: str,
    folder: str,
    recipe: dict[str, Any],
    source: str,
    model: str = "",
) -> None:
    """Add a run; `model` is the model shown in lists, if that is not the one of its recipe."""
    insert(
        connection, "runs", id=run_id, name=name, model=model or recipe["model"]["id"], method=recipe["method"]["name"],
        objective=recipe["objective"]["name"], created=time.time(), folder=folder, recipe=json_text(recipe),
        source=source, state=json_text(data.Queued(place=0)), rank=QUEUED,
    )  # fmt: skip
    recipe_settings.store_settings(connection, run_id, recipe)
    run_records.mark_run(connection, run_id)


def words_of(connection: Connection, numbers: Sequence[int]) -> list[str]:
    """Return the state words of runs."""
    query = "SELECT state->>'type' FROM runs WHERE list_contains(?, id)"
    return read_as(connection, str, query, [list(numbers)])


def next_run_id(connection: Connection) -> int:
    return run_records.next_number(connection, "runs")


def free_name(connection: Connection, wanted: str) -> str:
    """Return the requested name, with -2, -3 … appended if it is taken."""
    taken_names = read_as(connection, str, "SELECT name FROM runs WHERE starts_with(name, ?)", [wanted])
    return first_free(wanted, set(taken_names).__contains__)


def first_free(wanted: str, is_taken: Callable[[str], bool]) -> str:
    """Return the requested name, with -2, -3 … appended while it is taken."""
    names = itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not is_taken(name))


def free_chain(connection: Connection, wanted: str, stages: Sequence[str]) -> str:
    """Return the requested chain name, with -2, -3 … appended if one of its stages already has a run."""

    def has_run(name: str) -> bool:
        return any(free_name(connection, f"{name}.{stage}") != f"{name}.{stage}" for stage in stages)

    return first_free(wanted, has_run)


def newest_of_stage(connection: Connection, chain: str, stage: str) -> int:
    """Return the newest run of a chain's stage: CHAIN.STAGE, or CHAIN.STAGE-2 … Raises NotFound."""
    named = re.escape(f"{chain}.{stage}") + "(-[0-9]+)?"
    query = "SELECT max(id) FROM runs WHERE regexp_full_match(name, ?)"
    run_id: int | None = one_value(connection, query, [named])
    if run_id is None:
        hint = f"Start before it: --from {stage}, or name another chain: --name NAME."
        raise NotFound(f"stage {stage} of {chain} was never run.", hint=hint)
    return run_id


def find_run(connection: Connection, run: str) -> tuple[int, str]:
    """Return (id, name) of a run by its name or id. Raises NotFound with the nearest name."""
    match = connection.execute("SELECT id, name FROM runs WHERE name = ?", [run]).fetchone()
    if match is None and run.isdecimal() and len(run) < 9:
        match = connection.execute("SELECT id, name FROM runs WHERE id = ?", [int(run)]).fetchone()
    if match is None:
        names = read_as(connection, str, "SELECT name FROM runs ORDER BY id DESC LIMIT 1000")
        name = near(run[:80], names)
        hint = f"Did you mean {name}?" if name else "See `finetop ls`."
        raise NotFound(f"there is no run {quoted(run)}.", hint=hint)
    return int(match[0]), str(match[1])


def set_state(connection: Connection, run_id: int, state: data.State) -> None:
    """Set a run's state, and its place in the list."""
    show_state(connection, run_id, state)
    run_records.mark_run(connection, run_id)


def show_state(connection: Connection, run_id: int, state: data.State) -> None:
    """Set a state that differs only in what the job's events report, so the run needs no new record."""
    ended = None if isinstance(state, data.Queued | data.Running) else state.ended
    update(connection, "runs", run_id, state=json_text(state), ended=ended)
    set_rank(connection, run_id)


def set_rank(connection: Connection, run_id: int) -> None:
    """Update whether a run needs attention: an unseen failure, an unaccepted regression, or an alarm."""
    query = "SELECT state, brief, said, tags FROM runs WHERE id = ?"
    state_text, brief_text, message, tags = one_row(connection, query, [run_id])
    state = _state.decode(state_text)
    check = _brief.decode(brief_text) if brief_text else None
    place = _seen_as(connection, run_id, check)
    regressed = place in (triage_states.PLACES["new"], triage_states.PLACES["looking"])
    is_waiting = isinstance(data.visible_state(state), data.Queued)
    failed = isinstance(state, data.Failed | data.Lost) or (message and not is_waiting)
    if regressed or (failed and SEEN not in notes.read_tags(tags)):
        rank = NEEDS_YOU
    elif is_waiting or not isinstance(state, data.Running):
        rank = QUEUED if is_waiting else DONE
    else:
        is_ill = alarms.any_open(connection, run_id) or state.pulse in ("hung", "stopped")
        rank = NEEDS_YOU if is_ill else RUNNING
    update(connection, "runs", run_id, rank=rank, triage=place, points_lost=check.drop if check else None)


def _seen_as(connection: Connection, run_id: int, check: data.CheckBrief | None) -> int:
    """Return the triage place of a run's regression; NONE if it has none."""
    if check is None or check.verdict != "regressed":
        return triage_states.NONE
    standing = triage_states.of_run(connection, run_id).get("")
    return triage_states.PLACES["new" if standing is None else standing.state]


def queue_again(connection: Connection, run_id: int) -> None:
    """Set a run to queued for a job that resumes it, clearing the message of an earlier one."""
    update(connection, "runs", run_id, said="")
    tags = notes.tags_of(connection, run_id)
    if SEEN in tags:  # failing once more would be news
        notes.set_tags(connection, run_id, [tag for tag in tags if tag != SEEN])
    set_state(connection, run_id, data.Queued(place=0))


def put_back(connection: Connection, run_id: int, before: data.Before, said: str = "") -> None:
    """Return a run to its state before a job that should have resumed it; `said` is why that failed."""
    if before.recipe is not None:
        set_recipe(connection, run_id, before.recipe, before.model)
    update(connection, "runs", run_id, said=said)
    set_state(connection, run_id, before.state)


def snapshot(connection: Connection, run_id: int, state: data.State) -> data.Before:
    """Return a run's current state and step, to undo a job that resumes it."""
    return data.Before(state, int(one_value(connection, "SELECT step FROM runs WHERE id = ?", [run_id])))


def forget_later(connection: Connection, run_id: int, step: int) -> None:
    """Delete what was reported of steps after the one that a run resumes from: that part is discarded."""
    tables = ("metrics", "checkpoints", "samples", "alarms", *plugins.entries("sql", "OF_STEPS"))
    for table in tables:
        connection.execute(f"DELETE FROM {table} WHERE run_id = ? AND step > ?", [run_id, step])
    for table in ("samples", "metrics") if step == 0 else ():  # it starts over
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])


def go_back(connection: Connection, run_id: int, step: int) -> None:
    """Set a run's step and last numbers back to those at a step."""
    condition = "run_id = ? AND step <= ? GROUP BY key ORDER BY key"
    query = f"SELECT key, arg_max(value, step) FROM metrics WHERE {condition}"
    last = dict(connection.execute(query, [run_id, step]).fetchall())
    update(connection, "runs", run_id, step=max(0, step), last=json_text(last))
    set_rank(connection, run_id)


def set_recipe(connection: Connection, run_id: int, recipe: dict[str, Any], model: str) -> None:
    """Set a run's recipe; `model` is the model shown in lists."""
    connection.execute(
        "UPDATE runs SET recipe = ?, model = ?, method = ? WHERE id = ?",
        [json_text(recipe), model, recipe["method"]["name"], run_id],
    )
    recipe_settings.store_settings(connection, run_id, recipe)
    run_records.mark_run(connection, run_id)


def row(connection: Connection, run_id: int, why: Mapping[int, str] | None = None) -> data.RunRow:
    return rows(connection, [run_id], *jobs.places(connection, why))[0]


def rows(
    connection: Connection,
    run_ids: Sequence[int],
    waiting: Mapping[int, data.Queued],
    waiting_others: jobs.SideJobs,
) -> list[data.RunRow]:
    """Read runs as list rows, in this order; waiting jobs come from jobs.places."""
    running = jobs.live(connection)
    beside = jobs.side_jobs(connection, running, waiting_others)
    saved = _saved(connection, run_ids)
    alarm = alarms.newest_open(connection, run_ids)
    gpus = jobs.gpus_in_use(running)
    query = f"SELECT {_COLUMNS} FROM runs WHERE list_contains(?, id)"
    by_id = {}
    for line in connection.execute(query, [list(run_ids)]).fetchall():
        run_id = line[0]
        more = {"alarm": alarm.get(run_id, ""), "gpus": gpus.get(run_id, ""), "saved": saved.get(run_id, 0)}
        by_id[run_id] = _row(line, waiting, beside.get(run_id, ()), more)
    return [by_id[run_id] for run_id in run_ids]


def _place(device: str, gpus: Sequence[data.Share]) -> str:
    """Name the GPUs as numbered on the machine: each job calls its first one cuda:0."""
    if not gpus or not device.startswith("cuda:"):
        return device
    return f"{data.gpus_word(gpus)} {device.partition(' ')[2]}"


def _row(
    line: tuple[Any, ...],
    waiting: Mapping[int, data.Queued],
    beside: Sequence[data.SideJob],
    more: dict[str, Any],
) -> data.RunRow:
    own = dict(zip(_OWN, line, strict=False))
    own |= {name: read(own[name]) for name, read in _READ.items()}
    last, check, rank, resumable = line[len(_OWN) :]
    state = data.visible_state(own.pop("state"))
    if isinstance(state, data.Queued):
        state = waiting.get(own["id"], state)
    return data.RunRow(
        **own,
        **more,
        state=state,
        metrics=msgspec.json.decode(last),
        check=_brief.decode(check) if check else None,
        checking=next((job.state for job in beside if job.kind.gives_verdict), None),
        needs_you=rank == NEEDS_YOU,
        left_s=state.left_s if isinstance(state, data.Running) else None,
        others=[job for job in beside if not job.kind.gives_verdict],
        resumable=resumable != "false",
    )


def _saved(connection: Connection, run_ids: Sequence[int]) -> dict[int, int]:
    """Count the saved checkpoints of runs."""
    saved = "checkpoints WHERE list_contains(?, run_id) GROUP BY run_id"
    query = f"SELECT run_id, count(DISTINCT step) FROM {saved}"
    return dict(connection.execute(query, [list(run_ids)]).fetchall())


def recipe(connection: Connection, run_id: int) -> dict[str, Any]:
    """Read a run's resolved recipe."""
    text = one_value(connection, "SELECT recipe FROM runs WHERE id = ?", [run_id])
    return msgspec.json.decode(text, type=dict[str, Any])


def recipes(connection: Connection, run_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Read the resolved recipes of runs by id, in one query."""
    query = "SELECT id, recipe FROM runs WHERE list_contains(?, id)"
    lines = connection.execute(query, [list(set(run_ids))]).fetchall()
    return {run_id: msgspec.json.decode(text) for run_id, text in lines}


def detail(connection: Connection, run_id: int, why: Mapping[int, str] | None = None) -> data.RunDetail:
    """Read one run in full, except for curves, log and item scores."""
    query = "SELECT folder, recipe, source, first_row, best FROM runs WHERE id = ?"
    folder, recipe_text, source, first_row, best = one_row(connection, query, [run_id])
    own_jobs = jobs.of_run(connection, run_id)
    condition = "run_id = ? AND list_contains(?, verb) ORDER BY id DESC"
    query = f"SELECT verb, device, versions, planned, numbers_from FROM jobs WHERE {condition}"
    makers = connection.execute(query, [run_id, list(job_kinds.verbs_that("makes_a_run"))]).fetchall()
    _, device, versions, planned, _ = makers[0] if makers else ("", "", "{}", "{}", None)
    # the import of what a command made knows the model, and nothing of where it was trained
    device = next((own for verb, own, *_ in makers if job_kinds.of(verb).of_others), device)
    numbers_from = next((text for *_, text in makers if text), None)
    gpus = next(
        (job.gpus for job in reversed(own_jobs) if job.kind.makes_a_run and not job.kind.is_import), []
    )
    above, below = parents.relatives(connection, run_id)
    return data.RunDetail(
        row=row(connection, run_id, why),
        folder=folder,
        recipe=msgspec.json.decode(recipe_text),
        recipe_source=source,
        jobs=own_jobs,
        checkpoints=read_as(connection, data.CheckpointRow, _CHECKPOINTS, [run_id]),
        samples=read_as(connection, data.SampleRow, _SAMPLES, [run_id]),
        data=read_as(connection, data.DataRow, _DATA, [run_id]),
        first_row=msgspec.json.decode(first_row) if first_row else [],
        alarms=alarms.of_run(connection, run_id),
        alarms_total=alarms.count_of(connection, run_id),
        checks=checks.briefs(connection, run_id),
        device=_place(device, gpus),
        versions=msgspec.json.decode(versions),
        planned=msgspec.json.decode(planned),
        best=msgspec.json.decode(best, type=data.Best) if best else None,
        parents=above,
        children=below,
        numbers_from=msgspec.json.decode(numbers_from, type=NumbersFrom) if numbers_from else None,
        **{name: read(connection, run_id) for name, read in plugins.entries("sql", "DETAIL").items()},
    )


def exists(connection: Connection, run_id: object) -> bool:
    """Return True if the store has a run of this number; a damaged record may name anything."""
    query = "SELECT 1 FROM runs WHERE id = TRY_CAST(? AS INTEGER)"
    return connection.execute(query, [str(run_id)]).fetchone() is not None


def folders(connection: Connection) -> set[str]:
    """Return the folders of all runs, relative to the home."""
    return set(read_as(connection, str, "SELECT folder FROM runs"))


def rename(connection: Connection, run_id: int, name: str) -> None:
    """Set a run's name."""
    connection.execute("UPDATE runs SET name = ? WHERE id = ?", [name, run_id])
    run_records.mark_run(connection, run_id)
