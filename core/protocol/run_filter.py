"""The one-line filter of the list of runs, with sorting and grouping: from text to plain data and back.

    method:lora loss<1.2 tag:ablation verdict:regressed age<2d -note:"to delete" sort:-drop group:train.seed

Terms are separated by blanks and must all match; a leading `-` negates one; quotes keep blanks together. A bare word is
searched in what the list shows of a run: its name, state, verdict, model, method, tags, note, machine. `:` matches a
part of a text, `=` all of it, ignoring case. `!=` is a negated `=`. A key is a column's name or title; one with a dot
is a setting of the recipe, any other that is not listed here a metric. Needs neither duckdb nor textual, so the app,
the command line and the store read the same line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, get_args

from finetop.core.errors import BadInput, near

if TYPE_CHECKING:
    from finetop.core.protocol.runs import RunRow

LONGEST = 2000  # characters of a line
MOST_TERMS = 50

Kind = Literal["word", "text", "choice", "number", "age", "metric", "setting"]
Op = Literal[":", "=", "<", "<=", ">", ">="]

TEXTS = ("name", "model", "method", "objective", "how", "forgot", "tag", "note", "alarm", "suite", "host")
CHOICES = {
    "state": ("queued", "running", "finished", "stopped", "failed", "lost"),
    "verdict": ("ok", "regressed", "accepted", "fixed", "no_verdict", "none"),
}
SHOWN_AS = {"no verdict": "no_verdict", "regr.": "regressed", "not checked": "none"}  # as the app shows them
NUMBER_OF: dict[str, Callable[[RunRow], float | None]] = {
    "step": lambda row: row.step,
    "steps": lambda row: row.steps,
    "drop": lambda row: None if row.check is None else row.check.drop,
    "id": lambda row: row.id,
}
NUMBERS = tuple(NUMBER_OF)
SPANS = ("age", "left", "time")  # durations
KEYS = (*TEXTS, *CHOICES, *NUMBERS, *SPANS)
# Of columns whose key differs.
TITLES = {"run": "name", "tags": "tag", "curve": "loss", "left/age": "time", "tok/s": "tokens_per_s"}
SORTS = ("needs_you", "newest", "name", "age", *NUMBERS)
GROUPS = ("method", "model", "objective", "tag", "state", "verdict", "suite")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_TERM = re.compile(r"(-?)([^\s\":=<>!]*)(!=|<=|>=|[:=<>])", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_AGE = re.compile(r"(\d+\.?\d*|\.\d+)([smhdw])", re.ASCII)
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_/@-]{0,99}", re.ASCII)
_SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[A-Za-z0-9_-]{1,60}){1,9}", re.ASCII)
_OPS: dict[str, Op] = {"!=": "=", **{op: op for op in get_args(Op)}}
_COMPARES = ("<", "<=", ">", ">=")
_SORTED_BY = {"sort": "loss", "group": "method"}


class FilterFault(BadInput):
    """A fault in a filter: the term as typed, and what is wrong with it."""

    def __init__(self, term: str, what: str, *, hint: str = "") -> None:
        super().__init__(f"{term[:60]}: {what}", hint=hint)
        self.what = f"{what} {hint}".strip()


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `number`, `age` (seconds) and `metric` have a number as value, settings either, others a text."""

    kind: Kind
    key: str  # "" for a bare word
    op: Op
    value: str | float
    negated: bool = False
    typed: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort order. Runs without the number come last in either direction."""

    key: str = "needs_you"
    descending: bool = False

    @property
    def word(self) -> str:
        return f"{'-' if self.descending else ''}{self.key}"


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole filter; `sort` and `group` are empty if not given."""

    terms: tuple[Term, ...] = ()
    sort: Sort | None = None
    group: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that it names."""
        keys = [term.key for term in self.terms if term.kind == "setting"]
        keys += filter(is_setting, [self._sorted_by, self.group])
        return tuple(dict.fromkeys(keys))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it names."""
        keys = [term.key for term in self.terms if term.kind == "metric"]
        return tuple(dict.fromkeys([*keys, *filter(is_metric, [self._sorted_by])]))

    @property
    def _sorted_by(self) -> str:
        return "" if self.sort is None else self.sort.key


def is_setting(key: str) -> bool:
    """Return whether a key is the dotted name of a setting."""
    return _SETTING.fullmatch(key) is not None


def is_metric(key: str) -> bool:
    """Return whether a key can only be a metric's name."""
    return key not in (*KEYS, *SORTS, *GROUPS, *TITLES) and _METRIC.fullmatch(key) is not None


def parse(text: str) -> Filter:
    """Parse a filter. Raises FilterFault, which is a BadInput."""
    if len(text) > LONGEST:
        raise FilterFault(f"{text[:20]}…", f"the filter has more than {LONGEST:,} characters.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FilterFault(ascii(text)[1:-1], "it is not valid UTF-8.") from None
    terms: list[Term] = []
    sort: Sort | None = None
    group = ""
    for token in _tokens(text):
        negated, key, op, value = _split_term(token)
        if key in ("sort", "group") and op:
            if negated or op != ":":
                raise FilterFault(token.typed, f"write {key}:{value or _SORTED_BY[key]}.")
            if (sort is not None) if key == "sort" else group:
                raise FilterFault(token.typed, f"{key}: is given twice.", hint="Leave one out.")
            if key == "sort":
                sort = read_sort(value, token.typed)
            else:
                group = read_group(value, token.typed)
            continue
        terms.append(_term(token, negated, key, op, value))
    if len(terms) > MOST_TERMS:
        raise FilterFault(terms[MOST_TERMS].typed, f"the filter has more than {MOST_TERMS} terms.")
    return Filter(tuple(terms), sort, group)


def read_sort(word: str, typed: str = "") -> Sort:
    """Parse a sort order: `loss`, `-drop`, `train.learning_rate`. Raises FilterFault."""
    bare, typed = word.removeprefix("-"), typed or f"sort:{word}"
    key = TITLES.get(bare, bare)
    if not key:
        raise FilterFault(typed, "sort: needs a field.", hint="Try sort:newest, sort:loss or sort:-drop.")
    if key not in SORTS and not is_setting(key) and not is_metric(key):
        raise FilterFault(typed, f"can't sort by {bare[:60]}.", hint=_near(bare, SORTS))
    if key == "needs_you" and word != key:
        raise FilterFault(typed, "this order has one direction.", hint="Write sort:needs_you.")
    return Sort(key, word != bare)


def read_group(key: str, typed: str = "") -> str:
    """Parse a group key. Raises FilterFault."""
    bare, typed = key, typed or f"group:{key}"
    key = TITLES.get(bare, bare)
    if not key:
        hint = "Try group:method, group:tag or group:train.learning_rate."
        raise FilterFault(typed, "group: needs a field.", hint=hint)
    if key not in GROUPS and not is_setting(key):
        hint = _near(bare, GROUPS)
        raise FilterFault(typed, f"can't group by {bare[:60]}; settings have a dot.", hint=hint)
    return key


def require_known(line: Filter, metrics: Iterable[str], settings: Iterable[str]) -> None:
    """Raise FilterFault if a filter names an unknown metric or setting."""
    metrics, settings = set(metrics), set(settings)
    typed = {term.key: term.typed for term in line.terms}
    typed |= {line.sort.key: f"sort:{line.sort.word}"} if line.sort is not None else {}
    typed |= {line.group: f"group:{line.group}"} if line.group else {}
    for key in line.metrics:
        if key not in metrics:
            meant = near(key, {*metrics, *NUMBERS, *SPANS})
            hint = f"Did you mean {meant}?" if meant else _few("Metrics", metrics)
            raise FilterFault(typed[key], f"no run has a metric {key}.", hint=hint)
    for key in line.settings:
        if key not in settings:
            section = key.partition(".")[0]
            beside = [name for name in settings if name.startswith(f"{section}.")]
            meant = near(key, settings)
            hint = f"Did you mean {meant}?" if meant else _few(f"Settings of {section}", beside)
            raise FilterFault(typed[key], f"no run has a setting {key}.", hint=hint)


def _few(heading: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    return f"{heading}: {', '.join(ordered[:8])}{' …' if len(ordered) > 8 else ''}." if ordered else ""


# --- from text ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    typed: str
    text: str  # without quotes
    bare: int  # number of characters before the first quote

    @property
    def is_quoted(self) -> bool:
        return '"' in self.typed


def _tokens(line: str) -> Iterator[_Token]:
    """Split a line at the blanks outside quotes."""
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        start, text, bare = at, "", -1
        while at < len(line) and not line[at].isspace():
            if line[at] == '"':
                bare = len(text) if bare < 0 else bare
                inside, at = _quoted(line, start, at + 1)
            else:
                inside, at = line[at], at + 1
            text += inside
        yield _Token(line[start:at], text, len(text) if bare < 0 else bare)


def _quoted(line: str, start: int, at: int) -> tuple[str, int]:
    """Read up to the closing quote. Return the quoted text, and the position after it."""
    text = ""
    while at < len(line):
        if line[at] == '"':
            return text, at + 1
        if line[at] == "\\" and line[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        text += line[at]
        at += 1
    raise FilterFault(line[start:], "the quote is not closed.", hint='Add a " at its end.')


def _split_term(token: _Token) -> tuple[bool, str, str, str]:
    """Split a term: whether it is negated, its key and operator (both empty for a bare word), its value."""
    match = _TERM.match(token.text[: token.bare])
    if match is not None:
        return bool(match[1]), match[2], match[3], token.text[match.end() :]
    negated = token.bare > 0 and token.text.startswith("-")
    return negated, "", "", token.text[1:] if negated else token.text


def _term(token: _Token, negated: bool, key: str, op: str, value: str) -> Term:
    typed = token.typed
    if not op:
        if not value and not token.is_quoted:
            raise FilterFault(typed, "- needs a term.", hint='Try -failed, or "-" for the text.')
        return Term("word", "", ":", value, negated, typed)
    if not key:
        raise FilterFault(typed, f"{op} needs a field before it.", hint="Try loss<1.2 or tag:draft.")
    key = TITLES.get(key, key)
    if not value and not token.is_quoted:
        raise FilterFault(typed, f"{op} needs a value.", hint=f"Try {_example(key)}.")
    return _keyed(token, negated != (op == "!="), key, _OPS[op], value)


def _keyed(token: _Token, negated: bool, key: str, op: Op, value: str) -> Term:
    typed = token.typed
    if key in TEXTS:
        _require_no_order(typed, key, op)
        return Term("text", key, op, value, negated, typed)
    if key in CHOICES:
        _require_no_order(typed, key, op)
        choice = SHOWN_AS.get(value.lower(), value.lower())
        if choice not in CHOICES[key]:
            raise FilterFault(typed, f"no {key} {value[:60]!r}.", hint=_near(choice, CHOICES[key]))
        return Term("choice", key, "=", choice, negated, typed)
    if key in SPANS:
        return Term("age", key, op, _span(typed, key, op, value), negated, typed)
    if key in NUMBERS:
        return Term("number", key, op, _number(typed, key, value), negated, typed)
    if is_setting(key):
        is_number = op in _COMPARES or _NUMBER.fullmatch(value)
        return Term("setting", key, op, _number(typed, key, value) if is_number else value, negated, typed)
    return _metric(token, negated, key, op, value)


def _metric(token: _Token, negated: bool, key: str, op: Op, value: str) -> Term:
    if _METRIC.fullmatch(key) is None:
        hint = f'To find the text itself: "{token.text[:40]}".'
        raise FilterFault(token.typed, f"{key[:60]!r} is not a field.", hint=hint)
    if op not in _COMPARES and _NUMBER.fullmatch(value) is None:
        meant = near(key[:60], KEYS)
        hint = f"Did you mean {meant}?" if meant else f'To find the text itself: "{token.text[:40]}".'
        raise FilterFault(token.typed, f"no field {key!r}, and a metric takes a number.", hint=hint)
    return Term("metric", key, op, _number(token.typed, key, value), negated, token.typed)


def _near(value: str, choices: Sequence[str]) -> str:
    """Suggest the nearest of the known words, else list them."""
    meant = near(value[:60], choices)
    return f"Did you mean {meant}?" if meant else f"Use {', '.join(sorted(choices))}."


def _require_no_order(typed: str, key: str, op: Op) -> None:
    if op in _COMPARES:
        raise FilterFault(typed, f"{key} is text: use : or =.", hint=f"Try {_example(key)}.")


_EXAMPLES = {
    **{key: f"{key}:{choices[1]}" for key, choices in CHOICES.items()},
    "name": "name:support",
    "tag": "tag:draft",
    "note": 'note:"to do"',
    "forgot": "forgot:regressed",
    "alarm": "alarm:drift",
    "suite": "suite:core",
    "host": "host:lab",
    "age": "age<2d",
    "left": "left<1h",
    "time": "time<2h",
    "drop": "drop>3",
}


def _example(key: str) -> str:
    return _EXAMPLES.get(key, f"{key}:lora" if key in TEXTS else f"{key}<1.2")


def _number(typed: str, key: str, value: str) -> float:
    number = float(value) if _NUMBER.fullmatch(value) else math.nan
    if not math.isfinite(number):
        raise FilterFault(typed, f"{value[:60]!r} is not a number.", hint=f"Try {_example(key)}.")
    return number


def _span(typed: str, key: str, op: Op, value: str) -> float:
    if op not in _COMPARES:
        raise FilterFault(typed, f"{key} takes < or >.", hint=f"Try {key}<{value or '2d'}.")
    match = _AGE.fullmatch(value)
    seconds = float(match[1]) * UNITS[match[2]] if match is not None else math.nan
    if not math.isfinite(seconds):
        raise FilterFault(typed, f"{value[:60]!r} is not a duration.", hint="Use 30m, 2h, 2d or 1w.")
    return seconds


# --- to text ------------------------------------------------------------------------------------------------


def format_filter(line: Filter) -> str:
    """Return a filter as a line that parses to the same filter."""
    terms = [format_term(term) for term in line.terms]
    terms += [f"sort:{line.sort.word}"] if line.sort is not None else []
    return " ".join([*terms, *([f"group:{line.group}"] if line.group else [])])


def format_term(term: Term) -> str:
    """Return a term as it could have been typed."""
    minus = "-" if term.negated else ""
    if isinstance(term.value, float):
        value = _age_word(term.value) if term.kind == "age" else repr(term.value)
    else:
        value = quoted(term.value)
    return f"{minus}{term.key}{term.op if term.key else ''}{value}"


def _age_word(seconds: float) -> str:
    unit = max((unit for unit in UNITS if not seconds % UNITS[unit]), key=UNITS.__getitem__, default="s")
    number = seconds / UNITS[unit]
    word = str(int(number)) if number == int(number) else repr(number)
    return f"{word}{unit}" if _AGE.fullmatch(f"{word}{unit}") else f"{Decimal(repr(seconds)):f}s"


def quoted(text: str) -> str:
    """Quote a text if needed, so that it parses as one word."""
    has_blank = any(letter.isspace() for letter in text)
    if text and not text.startswith("-") and not re.search(r'[\s":=<>!\\]', text) and not has_blank:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
