"""Which runs a filter matches and how they sort, in plain Python, equivalent to the SQL of store/filter_sql.py.

Used for rows of unreachable machines, for lists of several machines, and to test the SQL.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetop.core.protocol.run_filter import NUMBER_OF, Filter, Sort, Term, is_setting
from finetop.core.protocol.runs import USUAL_SUITE, Ended, Queued, Running, RunRow, word

NO_NUMBER = 1e9  # place of a waiting run that has none
VERDICT_TEXTS = {  # each verdict as lists show it, in all forms
    "none": "not checked",
    "ok": "ok",
    "regressed": "REGRESSED REGR.",
    "no_verdict": "NO VERDICT no_verdict",
    "accepted": "accepted",
    "fixed": "fixed",
}

_COMPARE = {":": operator.eq, "=": operator.eq, "<": operator.lt, "<=": operator.le}
_COMPARE |= {">": operator.gt, ">=": operator.ge}


def holds(line: Filter, row: RunRow, now: float) -> bool:
    """Return whether all terms match a run. `row.settings` must include the settings that the terms name."""
    return all(_holds(term, row, now) != term.negated for term in line.terms)


def _holds(term: Term, row: RunRow, now: float) -> bool:
    match term.kind:
        case "word":
            texts = (row.name, row.model, row.method, row.objective, row.host, row.note)  # as lists show them
            return any(fits(term, text) for text in (*texts, *row.tags, *answer_texts(row)))
        case "text":
            return any(fits(term, text) for text in texts_of(row, term.key))
        case "choice":
            return term.value == (verdict(row) if term.key == "verdict" else word(row.state))
        case "age":
            span = _span(row, term.key, now)
            return span is not None and _compares(term, span)
    value = row.settings.get(term.key) if term.kind == "setting" else number_of(row, term.key)
    if isinstance(term.value, float):
        return isinstance(value, float) and _compares(term, value)
    return not isinstance(value, float) and fits(term, "none" if value is None else value)


def _compares(term: Term, number: float) -> bool:
    assert isinstance(term.value, float)
    return bool(_COMPARE[term.op](number, term.value))


def fits(term: Term, text: str) -> bool:
    """Return whether a text contains a term's value, or equals it."""
    value, text = lower(str(term.value)), lower(text)
    return value == text if term.op == "=" else value in text


def lower(text: str) -> str:
    """Convert to lower case letter by letter, as DuckDB's lower() does: `İ` and a final `Σ` are one letter each."""
    if text.isascii():
        return text.lower()
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def answer_texts(row: RunRow) -> list[str]:
    """List the texts of the "did it forget?" column: state, cause, verdict with its reason, suite, alarm."""
    facts = [str(getattr(row.state, name, "")) for name in ("phase", "cause")]
    texts = [word(row.state), *facts, VERDICT_TEXTS[verdict(row)], row.alarm]
    if row.check is not None:
        reason = row.check.reason if row.check.verdict == "no_verdict" else ""
        suite = row.check.suite if row.check.suite != USUAL_SUITE else ""
        texts += [reason, suite, row.check.accepted, row.check.fixed_by]
    return [text for text in texts if text]


def texts_of(row: RunRow, key: str) -> Sequence[str]:
    """List the texts of a key that is text."""
    match key:
        case "tag":
            return row.tags or [""]
        case "how":
            return (row.method, row.objective)
        case "forgot":
            return answer_texts(row)
        case "suite":
            return ("" if row.check is None else row.check.suite,)
    return (str(getattr(row, key)),)


def _span(row: RunRow, key: str, now: float) -> float | None:
    """Return a duration in seconds: the age, the time left, or what the combined column shows."""
    left_s = row.left_s if isinstance(row.state, Running) else None
    if key == "left":
        return left_s
    return now - since(row) if key == "age" or left_s is None else left_s


def verdict(row: RunRow) -> str:
    """Return the verdict word of a run's newest check."""
    if row.check is None:
        return "none"
    if row.check.verdict == "regressed" and row.check.is_settled:
        return "accepted" if row.check.accepted else "fixed"
    return row.check.verdict


def since(row: RunRow) -> float:
    """Return when a run ended, else when it was made."""
    return row.state.ended if isinstance(row.state, Ended) else row.created


def number_of(row: RunRow, key: str) -> float | None:
    """Return a number of a run: its step, drop or id, or a metric's last value."""
    if key not in NUMBER_OF:
        return row.metrics.get(key)
    number = NUMBER_OF[key](row)
    return None if number is None else float(number)


# --- order --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Backwards:
    text: str

    def __lt__(self, other: _Backwards) -> bool:
        return other.text < self.text


def place(row: RunRow, sort: Sort, group: str, name: str) -> tuple[Any, ...]:
    """Return a run's sort key in a list of several machines; equal runs are sorted by time, not by id."""
    return (*group_place(row, group), *_sorted_by(row, sort, name), -row.created)


def group_place(row: RunRow, group: str) -> tuple[Any, ...]:
    """Return the sort key of a run's group: numbers, then words, then runs without one."""
    if not group:
        return ()
    return _in_order(row.settings.get(group) if is_setting(group) else row.group or None)


def _in_order(value: float | str | None, *, descending: bool = False) -> tuple[Any, ...]:
    if value is None:
        return (2, 0.0)
    if isinstance(value, str):
        return (1, _Backwards(value) if descending else value)
    return (0, -value if descending else value)


def _sorted_by(row: RunRow, sort: Sort, name: str) -> tuple[Any, ...]:
    if sort.key == "needs_you":
        return _needs_you(row)
    if sort.key == "newest":
        return (row.created if sort.descending else -row.created,)
    if sort.key == "name":
        return (_Backwards(name) if sort.descending else name,)
    if sort.key == "age":
        return (since(row) if sort.descending else -since(row),)
    value = row.settings.get(sort.key) if is_setting(sort.key) else number_of(row, sort.key)
    return _in_order(value, descending=sort.descending)


def _needs_you(row: RunRow) -> tuple[Any, ...]:
    if isinstance(row.state, Queued) and not row.needs_you:
        return (2, row.state.place or NO_NUMBER)
    runs = any(isinstance(state, Running) for state in (row.state, *(job.state for job in row.side_jobs)))
    return (0 if row.needs_you else 1 if runs else 3, -since(row))
