"""Filters, sort orders and groups as SQL. Values are always parameters; metric names are validated by their pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetop.core.protocol.filter_match import NO_NUMBER, VERDICT_TEXTS
from finetop.core.protocol.run_filter import Filter, Sort, Term, is_metric, is_setting
from finetop.core.protocol.runs import USUAL_SUITE

_OPS = {":": "=", "=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_VERDICT = (
    "CASE WHEN r.brief IS NULL THEN 'none'"
    " WHEN r.brief->>'verdict' = 'regressed' AND r.brief->>'accepted' <> '' THEN 'accepted'"
    " WHEN r.brief->>'verdict' = 'regressed' AND r.brief->>'fixed_by' <> '' THEN 'fixed'"
    " ELSE r.brief->>'verdict' END"
)
_SINCE = "coalesce(r.ended, r.created)"
ALARM = "(SELECT arg_max(a.text, a.time) FROM alarms a WHERE a.run_id = r.id AND a.over_step IS NULL)"
_TAGS = "TRY(from_json(r.tags, '[\"VARCHAR\"]'))"
_COLUMNS = ("name", "model", "method", "objective", "note")
_TEXTS = {name: f"r.{name}" for name in _COLUMNS} | {
    "suite": "coalesce(r.brief->>'suite', '')",
    "alarm": f"coalesce({ALARM}, '')",
    "host": "''",  # known to the client: see client/remote/merge_runs.py
}
_NUMBERS = {name: f"r.{name}" for name in ("step", "steps", "id")}
_NUMBERS["drop"] = "TRY_CAST(r.brief->>'drop' AS DOUBLE)"
# A job that waits in a cluster's queue is live in the store, and queued for people: see `as_seen` in protocol/runs.py.
_STATE = (
    "CASE WHEN coalesce(r.state->>'waits', '') <> '' AND coalesce(r.state->>'asked', '') = ''"
    " THEN 'queued' ELSE r.state->>'type' END"
)
_IS_RUNNING = f"{_STATE} = 'running'"
_CASES = "".join(f" WHEN '{word}' THEN '{text}'" for word, text in VERDICT_TEXTS.items())
_VERDICT_TEXT = f"CASE {_VERDICT}{_CASES} END"
_ANSWER = tuple(  # the texts of the "did it forget?" column, as listed in protocol/filter_match.py
    f"nullif({text}, '')"
    for text in (
        _STATE,
        f"CASE WHEN {_IS_RUNNING} THEN r.state->>'phase' END",
        "r.state->>'cause'",
        _VERDICT_TEXT,
        "CASE WHEN r.brief->>'verdict' = 'no_verdict' THEN r.brief->>'reason' END",
        f"nullif(r.brief->>'suite', '{USUAL_SUITE}')",
        "r.brief->>'accepted'",
        "r.brief->>'fixed_by'",
        _TEXTS["alarm"],
    )
)
_SHOWN = (*(_TEXTS[name] for name in _COLUMNS), *_ANSWER)  # and the tags
_SEVERAL = {"how": ("r.method", "r.objective"), "forgot": _ANSWER}
_LEFT = f"CASE WHEN {_IS_RUNNING} THEN TRY_CAST(r.state->>'left_s' AS DOUBLE) END"
_SPANS = {"age": f"$now - {_SINCE}", "left": _LEFT, "time": f"coalesce({_LEFT}, $now - {_SINCE})"}
_GROUPS = {
    "method": "r.method",
    "model": "r.model",
    "objective": "r.objective",
    "tag": f"array_to_string({_TAGS}, ' ')",
    "state": _STATE,
    "verdict": _VERDICT,
    "suite": "r.brief->>'suite'",
}


@dataclass
class Statement:
    """The parts of a query: joins and conditions on `runs r`, with the values of their parameters."""

    values: dict[str, Any] = field(default_factory=dict)
    joins: dict[str, str] = field(default_factory=dict)  # by setting or table

    def value(self, value: Any) -> str:
        """Add a value; return its parameter."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

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

    @property
    def source(self) -> str:
        return "runs r" + "".join(self.joins.values())


def condition(statement: Statement, line: Filter, now: float) -> str:
    """Return the condition of a filter; a term about a value that a run lacks is false for it."""
    terms = []
    for term in line.terms:
        holds = f"coalesce({_holds(statement, term, now)}, false)"
        terms.append(f"NOT {holds}" if term.negated else holds)
    return " AND ".join(terms) or "true"


def _holds(statement: Statement, term: Term, now: float) -> str:
    if term.kind in ("word", "text"):
        parameter = statement.value(str(term.value))
        if term.kind == "word":
            return f"({_any(_SHOWN, ':', parameter)} OR {_any_tag(':', parameter)})"
        if term.key == "tag":
            untagged = _fits("''", term.op, parameter)
            return f"(CASE WHEN r.tags = '[]' THEN {untagged} ELSE {_any_tag(term.op, parameter)} END)"
        if term.key in _SEVERAL:
            return _any(_SEVERAL[term.key], term.op, parameter)
        return _fits(_TEXTS[term.key], term.op, parameter)
    if term.kind == "choice":
        return f"{_STATE if term.key == 'state' else _VERDICT} = {statement.value(term.value)}"
    if term.kind == "age":
        span = _SPANS[term.key]
        number = span.replace("$now", statement.value(now)) if "$now" in span else span
    elif term.kind != "setting":
        number = _number(statement, term.key)
    else:
        row = statement.setting(term.key)
        if not isinstance(term.value, float):
            fits = _fits(f"coalesce({row}.word, 'none')", term.op, statement.value(term.value))
            return f"({row}.number IS NULL AND {fits})"
        number = f"{row}.number"
    return f"{number} {_OPS[term.op]} {statement.value(term.value)}"


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
    path = statement.value(f'$."{key}"')
    return f"TRY_CAST(json_extract_string(r.last, {path}) AS DOUBLE)"


def order(statement: Statement, sort: Sort, waiting: dict[int, int]) -> list[tuple[str, str]]:
    """Return the sort keys: expressions and directions."""
    direction = "DESC" if sort.descending else "ASC"
    newest = ("r.id", "DESC")
    if sort.key == "needs_you":
        # waiting rows in start order, all others newest first
        place = statement.places(waiting)
        within = f"CASE WHEN r.rank = 2 THEN coalesce({place}, {NO_NUMBER}) ELSE -{_SINCE} END"
        return [("r.rank", "ASC"), (within, "ASC"), newest]
    if sort.key == "newest":
        return [("r.id", "ASC" if sort.descending else "DESC")]
    if sort.key == "name":
        return [("r.name", direction), newest]
    if sort.key == "age":
        return [(_SINCE, "ASC" if sort.descending else "DESC"), newest]
    if is_setting(sort.key):
        return [*_in_order(statement.setting(sort.key), direction), newest]
    return [(_number(statement, sort.key), f"{direction} NULLS LAST"), newest]


def _in_order(row: str, direction: str = "ASC") -> list[tuple[str, str]]:
    """Sort by a setting: numbers, then words, then runs without it. Equal numbers have one word."""
    return [(f"{row}.number", f"{direction} NULLS LAST"), (f"{row}.word", f"{direction} NULLS LAST")]


def group(statement: Statement, key: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a run's group as SQL (NULL for none), and the sort keys of groups."""
    if is_setting(key):
        row = statement.setting(key)
        return f"{row}.word", _in_order(row)
    word = f"nullif({_GROUPS[key]}, '')"
    return word, [(word, "ASC NULLS LAST")]


def measure(statement: Statement, sort: Sort) -> tuple[str, str]:
    """Return name and SQL of the number that groups are compared by: the sort key, else the loss."""
    if is_setting(sort.key):
        return sort.key, f"{statement.setting(sort.key)}.number"
    key = sort.key if is_metric(sort.key) or sort.key in _NUMBERS else "loss"
    return key, _number(statement, key)
