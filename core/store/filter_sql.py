"""Filters, sort orders and groups as SQL. Values are always parameters; metric names are validated by their pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetop.core.protocol.filter_match import NO_NUMBER, VERDICT_TEXTS, fits
from finetop.core.protocol.job_kinds import verbs_that
from finetop.core.protocol.run_filter import CHOICES, Filter, Sort, Term, is_metric, is_setting
from finetop.core.protocol.runs import USUAL_SUITE
from finetop.core.store import json_fields
from finetop.core.store.database import json_text

_OPS = {":": "=", "=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_SUITE = json_fields.text("r.brief", "suite")


def _waits(state: str) -> str:
    """Return as SQL whether a job waits in a cluster's queue: live in the store, queued for people."""
    return f"({json_fields.is_filled(state, 'waits')} AND NOT {json_fields.is_filled(state, 'asked')})"


_WAITS = _waits("r.state")
_IS_RUNNING = f"({json_fields.equals('r.state', 'type', 'running')} AND NOT {_WAITS})"
_STATE = f"CASE WHEN {_WAITS} THEN 'queued' ELSE {json_fields.text('r.state', 'type')} END"
_VERDICT = (
    "CASE WHEN r.brief IS NULL THEN 'none'"
    f" WHEN NOT {json_fields.equals('r.brief', 'verdict', 'regressed')}"
    f" THEN {json_fields.text('r.brief', 'verdict')}"
    f" WHEN {json_fields.is_filled('r.brief', 'accepted')} THEN 'accepted'"
    f" WHEN {json_fields.is_filled('r.brief', 'fixed_by')} THEN 'fixed' ELSE 'regressed' END"
)
_SINCE = "coalesce(r.ended, r.created)"
_TAGS = json_fields.texts("r.tags")
_COLUMNS = ("name", "model", "method", "objective", "note")
_TEXTS = {name: f"r.{name}" for name in _COLUMNS} | {
    "suite": f"coalesce({_SUITE}, '')",
    "host": "''",  # known to the client: see client/remote/merge_runs.py
}
_NUMBERS = {name: f"r.{name}" for name in ("step", "steps", "id")}
_NUMBERS["drop"] = json_fields.number("r.brief", f"'{json_fields.number_pattern('drop')}'")
_FREE_TEXTS = (  # of the "did it forget?" column, as listed in protocol/filter_match.py
    f"CASE WHEN {_IS_RUNNING} THEN {json_fields.text('r.state', 'phase')} END",
    json_fields.text("r.state", "cause"),
    f"CASE WHEN {json_fields.equals('r.brief', 'verdict', 'no_verdict')}"
    f" THEN {json_fields.text('r.brief', 'reason')} END",
    f"nullif({_SUITE}, '{USUAL_SUITE}')",
    json_fields.text("r.brief", "accepted"),
    json_fields.text("r.brief", "fixed_by"),
)
_LEFT_S = json_fields.number("r.state", f"'{json_fields.number_pattern('left_s')}'")
_LEFT = f"CASE WHEN {_IS_RUNNING} THEN {_LEFT_S} END"
_SPANS = {"age": f"$now - {_SINCE}", "left": _LEFT, "time": f"coalesce({_LEFT}, $now - {_SINCE})"}
_GROUPS = {
    "method": "r.method",
    "model": "r.model",
    "objective": "r.objective",
    "tag": f"array_to_string({_TAGS}, ' ')",
    "state": _STATE,
    "verdict": _VERDICT,
    "suite": _SUITE,
}


@dataclass
class Statement:
    """The parts of a query: joins and conditions on `runs r`, with the values of their parameters."""

    values: dict[str, Any] = field(default_factory=dict)
    joins: dict[str, str] = field(default_factory=dict)  # by setting or table
    columns: dict[str, str] = field(default_factory=dict)  # by expression

    def value(self, value: Any) -> str:
        """Add a value; return its parameter."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def of_run(self, expression: str) -> str:
        """Compute an expression of a run before the joins, which may keep all rows in memory; return its column.

        They would keep the JSON that it reads: 65 MB of last numbers with 20,000 runs of 100 metrics.
        """
        return f"r.{self.columns.setdefault(expression, f'c{len(self.columns)}')}"

    def setting(self, key: str) -> str:
        """Join a setting; return the alias of its row."""
        if key not in self.joins:
            name = f"s{len(self.joins)}"
            condition = f"{name}.run_id = r.id AND {name}.key = {self.value(key)}"
            self.joins[key] = f" LEFT JOIN settings {name} ON {condition}"
        return self.joins[key].split()[3]

    def places(self, waiting: dict[int, int]) -> str:
        """Join the queue places of waiting runs; return the column."""
        if not waiting:
            return "NULL"
        runs, places = self.value(list(waiting)), self.value(list(waiting.values()))
        unnested = f"unnest({runs}::INTEGER[]) AS run_id, unnest({places}::INTEGER[]) AS place"
        self.joins["places"] = f" LEFT JOIN (SELECT {unnested}) q ON q.run_id = r.id"
        return "q.place"

    def rank(self) -> str:
        """Join the runs that a check or another job beside their training runs for; return the rank, which counts them.

        They are listed among what runs. Jobs in a cluster's queue only wait.
        """
        runs = f"job.word = 'running' AND NOT {_waits('job.state')} AND job.verb NOT IN {verbs_that('makes_a_run')}"
        self.joins["beside"] = (
            f" LEFT JOIN (SELECT DISTINCT run_id FROM jobs job WHERE {runs}) b ON b.run_id = r.id"
        )
        return "CASE WHEN r.rank = 3 AND b.run_id IS NOT NULL THEN 1 ELSE r.rank END"

    def alarm(self) -> str:
        """Join each run's newest open alarm; return the column. One pass: a subquery per run was one per word."""
        newest = (
            "SELECT run_id, arg_max(text, time) AS alarm FROM alarms WHERE over_step IS NULL GROUP BY run_id"
        )
        self.joins["alarms"] = f" LEFT JOIN ({newest}) a ON a.run_id = r.id"
        return "a.alarm"

    @property
    def source(self) -> str:
        columns = "".join(f", {expression} AS {name}" for expression, name in self.columns.items())
        return f"(SELECT *{columns} FROM runs r) r" + "".join(self.joins.values())


def condition(statement: Statement, line: Filter, now: float) -> str:
    """Return the condition of a filter; a term about a value that a run lacks is false for it."""
    terms = []
    for term in line.terms:
        holds = f"coalesce({_holds(statement, term, now)}, false)"
        terms.append(f"NOT {holds}" if term.negated else holds)
    return " AND ".join(terms) or "true"


def _holds(statement: Statement, term: Term, now: float) -> str:
    if term.kind == "setting":
        return _setting_holds(statement, term)
    if term.kind == "word":
        return f"({statement.of_run(_of_columns(statement, term))} OR {_answers(statement, term)})"
    if term.key == "forgot":
        return _answers(statement, term)
    if term.key == "alarm":
        return _fits(f"coalesce({statement.alarm()}, '')", term.op, statement.value(term.value))
    return statement.of_run(
        _of_columns(statement, term) if term.kind == "text" else _compares(statement, term, now)
    )


def _of_columns(statement: Statement, term: Term) -> str:
    """Return whether a text of the run's own columns fits."""
    parameter = statement.value(str(term.value))
    if term.kind == "word":
        return f"({_any([_TEXTS[name] for name in _COLUMNS], ':', parameter)} OR {_any_tag(':', parameter)})"
    if term.key == "tag":
        untagged = _fits("''", term.op, parameter)
        return f"(CASE WHEN r.tags = '[]' THEN {untagged} ELSE {_any_tag(term.op, parameter)} END)"
    if term.key == "how":
        return _any(("r.method", "r.objective"), term.op, parameter)
    return _fits(_TEXTS[term.key], term.op, parameter)


def _answers(statement: Statement, term: Term) -> str:
    """Return whether a text of the "did it forget?" column fits.

    Two plain searches decide most runs: a free text that fits is in the JSON, as the value's own JSON. Only CASE
    leaves the others' texts unread; AND reads them for every run.
    """
    parameter = statement.value(str(term.value))
    escaped = statement.value(json_text(str(term.value))[1:-1])
    free = _any([f"nullif({text}, '')" for text in _FREE_TEXTS], term.op, parameter)
    parts = [f"CASE WHEN {_any(('r.state', 'r.brief'), ':', escaped)} THEN {free} ELSE false END"]
    states = [word for word in CHOICES["state"] if fits(term, word)]
    verdicts = [word for word, shown in VERDICT_TEXTS.items() if fits(term, shown)]
    for word, fitting in ((_STATE, states), (_VERDICT, verdicts)):
        if fitting:
            listed = ", ".join(f"'{fit}'" for fit in fitting)
            parts.append(f"{word} IN ({listed})")
    own = statement.of_run(f"({' OR '.join(parts)})")
    alarm = _any([f"nullif({statement.alarm()}, '')"], term.op, parameter)
    return f"({own} OR {alarm})"


def _compares(statement: Statement, term: Term, now: float) -> str:
    """Return whether a choice, a span or a number of the run is what a term wants."""
    if term.kind == "choice":
        return f"{_STATE if term.key == 'state' else _VERDICT} = {statement.value(term.value)}"
    if term.kind == "age":
        span = _SPANS[term.key]
        number = span.replace("$now", statement.value(now)) if "$now" in span else span
    else:
        number = _number(statement, term.key)
    return f"{number} {_OPS[term.op]} {statement.value(term.value)}"


def _setting_holds(statement: Statement, term: Term) -> str:
    row = statement.setting(term.key)
    if isinstance(term.value, float):
        return f"{row}.number {_OPS[term.op]} {statement.value(term.value)}"
    fitting = _fits(f"coalesce({row}.word, 'none')", term.op, statement.value(term.value))
    return f"({row}.number IS NULL AND {fitting})"


def _fits(text: str, op: str, parameter: str) -> str:
    left, right = f"lower({text})", f"lower({parameter})"
    return f"{left} = {right}" if op == "=" else f"contains({left}, {right})"


def _any(texts: Sequence[str], op: str, parameter: str) -> str:
    return f"({' OR '.join(f'coalesce({_fits(text, op, parameter)}, false)' for text in texts)})"


def _any_tag(op: str, parameter: str) -> str:
    return f"(r.tags <> '[]' AND len(list_filter({_TAGS}, lambda tag: {_fits('tag', op, parameter)})) > 0)"


def _number(statement: Statement, key: str) -> str:
    """Return a number of a run: a column, or a metric's last value."""
    if key in _NUMBERS:
        return _NUMBERS[key]
    return json_fields.number("r.last", statement.value(json_fields.number_pattern(key)))


def order(statement: Statement, sort: Sort, waiting: dict[int, int]) -> list[tuple[str, str]]:
    """Return the sort keys: expressions and directions."""
    direction = "DESC" if sort.descending else "ASC"
    newest = ("r.id", "DESC")
    if sort.key == "needs_you":
        # waiting rows in start order, all others newest first
        place = statement.places(waiting)
        within = f"CASE WHEN r.rank = 2 THEN coalesce({place}, {NO_NUMBER}) ELSE -{_SINCE} END"
        return [(statement.rank(), "ASC"), (within, "ASC"), newest]
    if sort.key == "newest":
        return [("r.id", "ASC" if sort.descending else "DESC")]
    if sort.key == "name":
        return [("r.name", direction), newest]
    if sort.key == "age":
        return [(_SINCE, "ASC" if sort.descending else "DESC"), newest]
    if is_setting(sort.key):
        return [*_in_order(statement.setting(sort.key), direction), newest]
    return [(statement.of_run(_number(statement, sort.key)), f"{direction} NULLS LAST"), newest]


def _in_order(row: str, direction: str = "ASC") -> list[tuple[str, str]]:
    """Sort by a setting: numbers, then words, then runs without it. Equal numbers have one word."""
    return [(f"{row}.number", f"{direction} NULLS LAST"), (f"{row}.word", f"{direction} NULLS LAST")]


def group(statement: Statement, key: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a run's group as SQL (NULL for none), and the sort keys of groups."""
    if is_setting(key):
        row = statement.setting(key)
        return f"{row}.word", _in_order(row)
    word = statement.of_run(f"nullif({_GROUPS[key]}, '')")
    return word, [(word, "ASC NULLS LAST")]


def measure(statement: Statement, sort: Sort) -> tuple[str, str]:
    """Return name and SQL of the number that groups are compared by: the sort key, else the loss."""
    if is_setting(sort.key):
        return sort.key, f"{statement.setting(sort.key)}.number"
    key = sort.key if is_metric(sort.key) or sort.key in _NUMBERS else "loss"
    return key, statement.of_run(_number(statement, key))
