"""Reads and validates a run.json for `rebuild`; a value that the store can't hold is named with its place.

A damaged one must not reach the store: an unreadable state, or another run's job, would break every listing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from duckdb import DuckDBPyConnection as Connection
from msgspec import Meta

from finetop.core.errors import BadInput, RecipeError
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.limits import Place, Whole
from finetop.core.protocol.standing import StandingState
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.recipe.names import check_name
from finetop.core.runtime.files import read_own
from finetop.core.store import rebuilding, run_records, runs
from finetop.core.text import quoted

LARGEST = 10**9
# of a run, a job, a check: the next one fits into its column too
Number = Annotated[int, Meta(ge=1, le=LARGEST)]


class _Named(TypedDict):
    name: str


class _Model(TypedDict):
    id: str


class _Command(TypedDict, total=False):
    run: list[Any] | None
    values: dict[str, Any] | None


class _Recipe(TypedDict):
    """The part of a recipe that the store itself reads; a job validates the rest when it starts."""

    model: _Model
    method: _Named
    objective: _Named
    train: NotRequired[dict[str, Any]]
    check: NotRequired[dict[str, Any]]
    budget: NotRequired[dict[str, Any] | None]
    command: NotRequired[_Command | None]


class _Try(TypedDict):
    number: Whole
    of: Whole


class _Args(TypedDict, total=False):
    """The part of a job's arguments that listings read."""

    retry: _Try
    resume: dict[str, Any]
    paused: Whole | None
    step: Whole | None
    candidates: list[dict[str, Any]]
    changes: list[str]


class Store(msgspec.Struct, frozen=True):
    """The store's own decisions about a run, table by table."""

    run: dict[str, Any]
    jobs: list[dict[str, Any]]
    checks: list[tuple[Number, Number | None, Whole | None, bool]]  # id, job, step, superseded
    tables: dict[str, list[dict[str, Any]]]


class Record(msgspec.Struct, frozen=True):
    """A validated run.json."""

    id: int
    recipe: dict[str, Any]
    store: Store


OF_COLUMN: dict[str, Any] = {
    "TINYINT": Annotated[int, Meta(ge=0, le=127)],
    "INTEGER": Whole,
    "BIGINT": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    "DOUBLE": Place,
    "BOOLEAN": bool,
    "VARCHAR": str,
}
# Columns with a narrower meaning than their type; HOLDS lists those whose text is JSON.
MEANS: dict[tuple[str, str], Any] = {
    ("runs", "id"): Number,
    ("runs", "created"): events.Moment,
    ("jobs", "id"): Number,
    ("jobs", "created"): events.Moment,
    ("jobs", "verb"): data.Verb,
    ("jobs", "not_before"): events.Moment,
    ("triage", "state"): StandingState,
    ("triage", "time"): events.Moment,
    ("comparisons", "created"): events.Moment,
    ("data_versions", "first_seen"): events.Moment,
    ("removed", "highest"): Annotated[int, Meta(ge=0, le=LARGEST)],
}
HOLDS: dict[tuple[str, str], Any] = {
    **{("runs", name): of for name, of in runs.JSON.items() if name != "state"},  # `state_of` reads that
    ("jobs", "args"): _Args,
    ("jobs", "undo"): data.Before,
    ("jobs", "gpus"): list[data.Share],
    ("jobs", "ended_word"): events.Ended,
    ("comparisons", "left_out"): dict[str, str],
}


def read_record(folder: Path, number: int) -> Record:
    """Read the run.json of a folder with this run id. Raises BadInput for one damaged, newer or never queued."""
    try:
        content = msgspec.json.decode(read_own(folder / "run.json"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"its run.json can't be read ({error}).") from error
    content = _as(dict[str, Any], content, "run.json")
    format_ = _as(int, content.get("format"), "run.json: format")
    if format_ != run_records.FORMAT:
        fix = " Rebuild with the newer finetop that wrote it." if format_ > run_records.FORMAT else ""
        raise BadInput(f"its run.json has format {format_}; this finetop reads {run_records.FORMAT}.{fix}")
    run_id = _as(Number, content.get("id"), "run.json: id")
    if run_id != number:
        raise BadInput(f"its run.json belongs to run {run_id}.")
    if "store" not in content:
        raise BadInput("it was never queued: finetop was killed while it made the folder.")
    _as(_Recipe, content.get("recipe"), "run.json: recipe")
    _require_written(content["recipe"], "run.json: recipe")
    record = Record(run_id, content["recipe"], _as(Store, content["store"], "run.json: store"))
    _require_one_run(record, folder)
    return record


def _require_one_run(record: Record, folder: Path) -> None:
    """Raise BadInput unless a record is of this run alone, with jobs inside its folder."""
    run, jobs = record.store.run, record.store.jobs
    of_jobs = [(f"run.json: store.jobs[{i}]", job) for i, job in enumerate(jobs)]
    numbers_of_run = [("run.json: store.run.id", run.get("id"))]
    numbers_of_run += [(f"{place}.run_id", job.get("run_id")) for place, job in of_jobs]
    for name, rows in record.store.tables.items():
        place = f"run.json: store.tables.{name}"
        numbers_of_run += [(f"{place}[{i}].run_id", row.get("run_id")) for i, row in enumerate(rows)]
    for place, value in numbers_of_run:
        if value != record.id:
            raise unkept(place, value, f"the run is {record.id}")
    place = "run.json: store.run.name"
    try:
        check_name(_as(str, run.get("name"), place), place)  # it becomes a folder's name elsewhere
    except RecipeError as error:
        raise unkept(place, run.get("name"), "not a run's name") from error
    to_start = []  # verbs
    for place, job in of_jobs:
        job_id = _as(Number, job.get("id"), f"{place}.id")
        if job.get("folder") != (own := f"jobs/{job_id:04d}-{job.get('verb')}"):
            raise unkept(f"{place}.folder", job.get("folder"), f"job {job_id}'s is {own[:100]}")
        if not (folder / own).resolve().is_relative_to(folder.resolve()):
            raise unkept(f"{place}.folder", own, "a link leads out of the run's folder")
        if isinstance(state_of(job, place), data.Queued | data.Running):
            to_start.append(job.get("verb"))
    state_of(run, "run.json: store.run")
    numbers = {job["id"] for job in jobs}
    if len(numbers) < len(jobs):
        raise unkept("run.json: store.jobs", jobs, "two have the same number")
    for i, (_, job_id, *_) in enumerate(record.store.checks):
        if job_id not in numbers:
            raise unkept(f"run.json: store.checks[{i}][1]", job_id, "the run has no such job")
    if to_start:  # its job only converts the recipe
        try:
            recipe_from_mapping(record.recipe, to_train="train" in to_start)
        except RecipeError as error:
            raise BadInput(f"run.json: {error}") from error


def state_of(row: dict[str, Any], place: str) -> data.State:
    """Return the state in a run's or job's row. Raises BadInput."""
    state: data.State = _as(data.State, row.get("state"), f"{place}.state")
    for field in ("since", "ended", "next_at"):
        if (moment := getattr(state, field, None)) is not None:
            _as(events.Moment, moment, f"{place}.state.{field}")
    _require_written(row["state"], f"{place}.state")
    return state


def kept_row(connection: Connection, table: str, row: dict[str, Any], place: str) -> dict[str, Any]:
    """Return the values that a table has columns for; others are of another version. Raises BadInput with the place."""
    values: dict[str, Any] = {}
    for name, kind, may_be_null, has_default in rebuilding.columns(connection, table):
        value = row.get(name)
        if name in row and not (value is None and may_be_null):
            values[name] = _as(MEANS.get((table, name), OF_COLUMN[kind]), value, f"{place}.{name}")
            if (text_type := HOLDS.get((table, name))) is not None:
                _require_held(values[name], text_type, f"{place}.{name}")
        elif name in row:
            values[name] = None
        elif not (may_be_null or has_default):
            raise BadInput(f"{place}.{name} is missing.")
    return values


def _require_held(text: str, kind: Any, place: str) -> None:
    """Raise BadInput unless a text is JSON of this type."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise unkept(place, text, str(error)) from error
    _as(kind, value, place)
    _require_written(value, place)


def _require_written(value: Any, place: str) -> None:
    """Raise BadInput unless a value can be encoded: JSON may hold numbers that can't be written again."""
    try:
        msgspec.json.encode(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise unkept(place, value, str(error)) from error


def _as(kind: Any, value: Any, place: str) -> Any:
    """Convert a value to a type. Raises BadInput with the place of an invalid part, nested ones included."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        reason, _, at = str(error).partition(" - at `$")
        for key in re.findall(r"[^.\[\]`]+", at) if "..." not in at else ():
            place += f"[{key}]" if isinstance(value, list) else f".{key}"
            value = value[int(key) if isinstance(value, list) else key]
        raise unkept(place, value, reason) from error


def unkept(place: str, value: Any, reason: str) -> BadInput:
    """Return the error for a value that can't be kept."""
    return BadInput(f"{place} is {quoted(value)} ({reason}).")
