"""The triage table in the store: a page of runs by tasks, one run in detail, and setting a regression's state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.features.triage import messages as ask_for
from finetop.core.features.triage.messages import CurvePoint, TaskFacts
from finetop.core.plugins import OBJECTIVES, is_checkable
from finetop.core.protocol import accepts, job_kinds
from finetop.core.protocol.check_result import CheckResult, TaskResult, read, tasks_worst_first, worst_first
from finetop.core.protocol.runs import CheckBrief, TaskBrief
from finetop.core.protocol.standing import Standing, StandingState
from finetop.core.store import checks, jobs, json_fields, runs, triage_states
from finetop.core.store.database import one_row, one_value, read_as, update
from finetop.core.text import clean_line

PAGE_LIMIT = 500
LONGEST = 2000  # characters of a reason or a note
NAMED = 6  # finished runs without a check that are named
ORDER = "triage = 0, triage, points_lost DESC NULLS LAST, id DESC"
_COLUMNS = "id, name, model, method, step, brief"
_OF_CHECK = (
    "check_id",
    "verdict",
    "margin",
    "suite",
    "at",
    "step",
    "real_drop",
)  # of a brief, told as they are
_WORDS = (
    "contains(lower(name || ' ' || model || ' ' || method || ' ' || tags || ' ' ||"
    " ['ok', 'new', 'looking', 'accepted', 'fixed'][triage + 1]), ?)"
)
CHECK_ID = json_fields.number("r.brief", f"'{json_fields.number_pattern('check_id')}'")  # of `runs r`
Scores = tuple[float | None, float | None, float | None, float | None, float | None]
_MARKS = {"regressed": "lost", "ok": "kept", "no_verdict": "open"}
_brief = msgspec.json.Decoder(CheckBrief)
_SAID: dict[StandingState, str] = {
    "new": "is new again",
    "looking": "is assigned to {by}",
    "accepted": "is accepted: {reason}",
    "fixed": "is fixed by {fixed_by}",
}

_PAST: dict[StandingState, str] = {"looking": "looked at", "accepted": "accepted", "fixed": "fixed"}


@cache
def _is_unchecked() -> str:
    """Return the condition of a finished run that can be checked, was not, and is not about to be."""
    checking = ", ".join(f"'{verb}'" for verb in job_kinds.verbs_that("gives_verdict"))
    uncheckable = ", ".join(f"'{name}'" for name in OBJECTIVES.names() if not is_checkable(name))
    return (
        f'brief IS NULL AND state LIKE \'%"type":"finished"%\' AND objective NOT IN ({uncheckable})'
        " AND id IN (SELECT run_id FROM checkpoints)"
        f" AND id NOT IN (SELECT run_id FROM jobs WHERE verb IN ({checking}) AND word IN ('queued', 'running'))"
    )


@cache
def _counts() -> str:
    places = [f"count(*) FILTER (triage = {place})" for place in triage_states.PLACES.values()]
    unchecked = f"count(*) FILTER ({_is_unchecked()})"
    return f"SELECT {', '.join(['count(*) FILTER (brief IS NOT NULL)', *places, unchecked])} FROM runs"


def page(connection: Connection, ask: ask_for.Triage, revision: int) -> ask_for.TriageAnswer:
    """Read one page of checked runs, each with the check that represents it."""
    condition, values = "brief IS NOT NULL", list[Any]()
    for word in ask.filter.lower().split():
        condition, values = f"{condition} AND {_WORDS}", [*values, word]
    query = f"SELECT {_COLUMNS} FROM runs WHERE {condition} ORDER BY {ORDER} LIMIT ? OFFSET ?"
    place = [max(1, min(ask.limit, PAGE_LIMIT)), max(0, ask.offset)]
    lines = connection.execute(query, [*values, *place]).fetchall()
    total, *counts, unchecked_total = (int(number) for number in one_row(connection, _counts()))
    matching = total
    if values:
        matching = int(one_value(connection, f"SELECT count(*) FROM runs WHERE {condition}", values))
    rows, tasks = _rows(connection, lines)
    query = "SELECT r.name, c.time FROM checks c JOIN runs r ON r.id = c.run_id ORDER BY c.id DESC LIMIT 1"
    newest, newest_at = connection.execute(query).fetchone() or ("", 0.0)
    query = f"SELECT name FROM runs WHERE {_is_unchecked()} ORDER BY id DESC LIMIT {NAMED}"
    return ask_for.TriageAnswer(
        rows=rows,
        tasks=tasks,
        matching=matching,
        total=total,
        **dict(zip(triage_states.PLACES, counts, strict=True)),
        unchecked=read_as(connection, str, query) if unchecked_total else [],
        unchecked_total=unchecked_total,
        newest=newest,
        newest_at=newest_at,
        revision=revision,
    )


def _rows(connection: Connection, lines: list[tuple[Any, ...]]) -> tuple[list[ask_for.TriageRow], list[str]]:
    """Return one row per run and one column per task, worst task first."""
    briefs = [_brief.decode(line[-1]) for line in lines]
    marks = [[(task.task, task.mark, _drop(task)) for task in check.worst] for check in briefs]
    tasks = tasks_worst_first(marks)
    numbers = [line[0] for line in lines]
    standings = triage_states.of_runs(connection, numbers)
    stands = {row.id: row for row in runs.rows(connection, numbers, *jobs.places(connection))}
    rows = []
    for (run_id, name, model, method, run_step, _), check in zip(lines, briefs, strict=True):
        cells = {task.task: ask_for.TriageCell(_drop(task), task.mark) for task in check.worst}
        run = {"id": run_id, "name": name, "model": model, "method": method, "run_step": run_step}
        row = ask_for.TriageRow(
            **run,
            **{key: getattr(check, key) for key in _OF_CHECK},
            drop=None if check.drop is None else round(check.drop, 2),
            cells=[cells.get(task) for task in tasks],
            reason=check.reason if check.verdict == "no_verdict" else "",
            standings=standings.get(run_id, {}),
            refuses=accepts.refused(stands[run_id]),
        )
        rows.append(row)
    return rows, tasks


def _drop(task: TaskBrief) -> float | None:
    return None if task.mark == "unmeasurable" else round(task.drop, 2)


@dataclass(frozen=True, slots=True)
class Known:
    """The check that a run is known by."""

    run_id: int
    run: str
    id: int
    job_id: int
    step: int | None
    outcome: CheckResult


def known_check(connection: Connection, run: str) -> Known:
    """Read the check that a run is known by. Raises NotFound where it has none."""
    run_id, name = runs.find_run(connection, run)
    row = connection.execute(
        "SELECT c.id, c.job_id, c.step, c.result FROM runs r JOIN checks c ON c.run_id = r.id"
        f" AND c.id = {CHECK_ID} WHERE r.id = ?",
        [run_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"{name} has no check yet.", hint=f"Check it: finetop check {name}.")
    check_id, job_id, step, result = row
    return Known(run_id, name, check_id, job_id, step, read(msgspec.json.decode(result)))


def run_detail(connection: Connection, ask: ask_for.TriageRun) -> ask_for.TriageRunAnswer:
    """Read one run with one row per task. Raises NotFound without a check."""
    known = known_check(connection, ask.run)
    run_id, outcome = known.run_id, known.outcome
    lines = connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", [run_id]).fetchall()
    rows, columns = _rows(connection, lines)
    facts = [facts_of(outcome, task) for task in ("", *(task.task for task in worst_first(outcome)))]
    curve, unchecked = curve_of(connection, run_id, ""), unchecked_steps(connection, run_id)
    # its loading and all else shared out
    pace = outcome.seconds / outcome.items_scored if outcome.seconds and outcome.items_scored else None
    newest = None
    if checks.has_checkpoint(connection, run_id):
        newest = checks.newest_checkpoint(connection, run_id, None)[0]
    return ask_for.TriageRunAnswer(rows[0], columns, facts, curve, unchecked, pace, newest)


def facts_of(outcome: CheckResult, task: str) -> TaskFacts:
    """Return the numbers of a task, or of the whole. Raises NotFound with the nearest name."""
    if not task:
        mark, interval = _MARKS[outcome.verdict], outcome.deciding_interval
        counts = (outcome.lost, outcome.won, outcome.items_used, outcome.items_total, outcome.reason)
        return TaskFacts("", mark, *_scores(outcome, interval), *counts, outcome.proven_drop)
    entry = next((entry for entry in outcome.tasks if entry.task == task), None)
    if entry is None:
        hint = did_you_mean(task, [entry.task for entry in outcome.tasks])
        raise NotFound(f"its check has no task {clean_line(task, limit=80)!r}.", hint=hint)
    is_proven = entry.interval is not None and entry.interval[0] > 0
    counts = (entry.lost, entry.won, entry.n, entry.total, entry.reason)
    return TaskFacts(task, entry.mark, *_scores(entry, entry.interval), *counts, is_proven)


def _scores(of: CheckResult | TaskResult, interval: tuple[float, float] | None) -> Scores:
    """Return base, tuned, drop and the interval's ends; the last three in points."""
    drop = None if of.drop is None else round(100 * of.drop, 4)
    low, high = (None, None) if interval is None else (100 * interval[0], 100 * interval[1])
    return of.base, of.tuned, drop, low, high


def curve_of(connection: Connection, run_id: int, task: str) -> list[CurvePoint]:
    """Return the scores of each checked checkpoint, base first; the newest check of each step counts."""
    points: dict[int, CurvePoint] = {}
    base: float | None = None
    condition = "run_id = ? AND NOT superseded AND step IS NOT NULL ORDER BY id"
    rows = connection.execute(f"SELECT step, result FROM checks WHERE {condition}", [run_id]).fetchall()
    for step, text in rows:
        outcome = read(msgspec.json.decode(text))
        if not task or any(entry.task == task for entry in outcome.tasks):
            facts = facts_of(outcome, task)
            points[step] = CurvePoint(step, facts.tuned, facts.mark)
            base = facts.base
    return [CurvePoint(None, base, "kept"), *(points[step] for step in sorted(points))] if points else []


def unchecked_steps(connection: Connection, run_id: int) -> list[int]:
    """List the steps of checkpoints that were never checked."""
    query = (
        "SELECT DISTINCT step FROM checkpoints WHERE run_id = $1 AND step NOT IN"
        " (SELECT step FROM checks WHERE run_id = $1 AND NOT superseded AND step IS NOT NULL) ORDER BY step"
    )
    return read_as(connection, int, query, [run_id])


def set_standing(connection: Connection, ask: ask_for.SetStanding) -> ask_for.SetStandingAnswer:
    """Set the triage state of a regression, inside the caller's transaction.

    Raises NotFound for a run without a check or an unknown task or run, BadInput for invalid texts, Refused if nothing
    was lost, or if the run named as the fix has regressed itself.
    """
    known = known_check(connection, ask.run)
    run_id, name, outcome = known.run_id, known.run, known.outcome
    facts, standing = facts_of(outcome, ask.task), ask.standing
    subject = f"{ask.task} of {name}" if ask.task else name
    _require_words(standing)
    if standing.state != "new" and not _has_lost(outcome, facts):
        raise Refused(f"{subject} has not regressed: there is nothing to be {_PAST[standing.state]}.")
    fixed_by = _fix(connection, run_id, name, standing.fixed_by) if standing.state == "fixed" else ""
    before = triage_states.of_run(connection, run_id).get(ask.task, Standing())
    stored = msgspec.structs.replace(
        standing,
        at=standing.at or time.time(),
        drop=standing.drop if standing.at else facts.drop,
        note=standing.note or ("" if standing.at else before.note),
        fixed_by=fixed_by,
    )
    triage_states.store_state(connection, run_id, ask.task, stored)
    update(connection, "runs", run_id, brief=checks.brief_of(connection, run_id))
    runs.set_rank(connection, run_id)
    if standing.note and standing.state == before.state:
        return ask_for.SetStandingAnswer(f"note on {subject}: {standing.note}", before)
    words = {"by": standing.by or "somebody", "reason": standing.reason, "fixed_by": fixed_by}
    return ask_for.SetStandingAnswer(f"{subject} {_SAID[standing.state].format(**words)}", before)


def _require_words(standing: Standing) -> None:
    for key, text in (("reason", standing.reason), ("note", standing.note), ("name", standing.by)):
        if len(text) > LONGEST:
            raise BadInput(f"the {key} has {len(text):,} characters; the limit is {LONGEST:,}.")
    if standing.state == "accepted" and not standing.reason.strip():
        raise BadInput("accepting a regression needs a reason.", hint="Give one: --reason TEXT.")
    if standing.state == "fixed" and not standing.fixed_by:
        raise BadInput("the run that fixes it is missing.", hint="Name it: --fixed-by RUN.")


def _has_lost(outcome: CheckResult, facts: TaskFacts) -> bool:
    """Return True if something was lost: proven, or in a task of a proven whole."""
    has_dropped = bool(facts.task) and (facts.drop or 0.0) > 0
    return facts.mark == "lost" or (outcome.verdict == "regressed" and has_dropped)


def _fix(connection: Connection, run_id: int, name: str, fix: str) -> str:
    """Return the name of the run that fixes another. Raises NotFound, Refused."""
    fix_id, fix_name = runs.find_run(connection, fix)
    if fix_id == run_id:
        raise Refused(f"{name} does not fix itself.", hint="Name the run that does.")
    check = runs.row(connection, fix_id).check
    if check is not None and check.verdict == "regressed":
        hint = f"See `finetop show {fix_name}`."
        raise Refused(f"{fix_name} has regressed itself, so it can't be the fix.", hint=hint)
    return fix_name
