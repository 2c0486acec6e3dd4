"""Renames keys of rows to those that training reads: by `columns` and `labels`, or by a guess for users to paste."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from finetop.core.data.files import unknown_column
from finetop.core.errors import BadData
from finetop.core.recipe.columns import ANSWERS, is_template, parts
from finetop.core.text import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from finetop.core.data.files import Place

    Guess = tuple[dict[str, str], Mapping[str, str | bool]]  # columns and labels; no columns: it does not fit

Row = dict[str, Any]
# Usual names of a prompt's column.
ASKING: tuple[str, ...] = ("prompt", "question", "query", "instruction", "input", "user", "human")
ASKING += ("source", "context", "sentence", "review", "text")
ANSWERING = ("completion", "answer", "response", "output", "reply", "target", "assistant")
LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic")
BETTER = ("chosen", "preferred", "accepted", "better", "winner", "positive", "good")
WORSE = ("rejected", "dispreferred", "refused", "worse", "loser", "negative", "bad")
TEXTS = ("text", "content", "body", "document", "article", "passage", "page_content")
ABOUT = ("context", "passage", "evidence", "background", "input", "document")  # what a question is about
GOOD = (*BETTER, "up", "yes", "like")
BAD = (*WORSE, "down", "no", "dislike")
WINNER = (
    "winner",
    "better",
    "preferred",
    "preference",
    "choice",
    "label",
    "labels",
    "better_response_id",
    "best",
)
RATED = ("good", "is_good", "rating", "score", "thumbs", "feedback", "vote")
BESIDE = (
    "id",
    "_id",
    "uuid",
    "url",
    "source",
    "date",
    "time",
    "split",
    "index",
    "lang",
    "language",
)  # metadata
MOST_LABELS = 50  # different values in a guess
MOST_RATINGS = 5  # the same of good and bad answers
_NUMBERED = re.compile(r"(.*?)[ _-]?([ab012])")  # one of two answers: response_a
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_OTHERWISE = ("true", "false", "null")  # words that YAML does not read as text


def shaped(row: Row, columns: Mapping[str, str], labels: Mapping[str, str | bool], place: Place) -> Row:
    """Return a row with only the keys of `columns`, numbers as text, and its label by name. Raises BadData."""
    values = row if not columns else {
        key: value for key, written in columns.items() if (value := _value(row, written)) is not None
    }  # fmt: skip
    if labels:
        values = _named(values, columns, labels, place)
    if columns:
        return {key: value if key == "label" else _as_text(value) for key, value in values.items()}
    return values


def require(row: Row, columns: Mapping[str, str], place: Place) -> None:
    """Check that a source's first row has the named columns. Raises BadData that lists the existing ones."""
    for key, written in columns.items():
        for name, is_column in parts(written):
            if is_column and name not in row:
                message = f"columns.{key} names the column {quoted(name)}, which does not exist."
                raise BadData(f"{place}: {message}", hint=unknown_column(name, row))


def _value(row: Row, written: str) -> Any:
    """Return the value of a key; None if the row has no value in any of its columns."""
    if not is_template(written):
        return row.get(written)
    pieces = parts(written)
    if all(row.get(piece) is None for piece, is_column in pieces if is_column):
        return None
    return "".join(_written(row.get(piece)) if is_column else piece for piece, is_column in pieces)


def _written(value: Any) -> str:
    if value is None:
        return ""
    text = _as_text(value)
    return text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)


def _as_text(value: Any) -> Any:
    """Convert a number to text; lists and mappings stay."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _named(row: Row, columns: Mapping[str, str], labels: Mapping[str, str | bool], place: Place) -> Row:
    key = next((key for key in ("label", *ANSWERS) if key in row), None)
    if key is None and columns:
        return row  # its value is missing
    if key is None or isinstance(row[key], list | dict):
        names = listed(("label", *ANSWERS), last=" or ")
        fault = f"the row has no {names}" if key is None else f"{key} is no single value"
        hint = (
            "Remove labels, or name the label's column in columns: label, or completion to learn to write it."
        )
        raise BadData(f"{place}: labels has no effect: {fault}.", hint=hint)
    value = label_of(row[key])
    alike = [label for label in labels if label.lower() == value.lower()]
    spelled = value if value in labels else next(iter(alike), None)
    if spelled is not None:
        named = labels[spelled]
        return {**row, key: named if key == "label" else _as_text(named)}
    column = columns.get(key, key)
    hint = f"It names {', '.join(labels)}: add {quoted(value)}, or fix the row."
    raise BadData(f"{place}: {column} is {quoted(value)}, which labels does not name.", hint=hint)


def label_of(value: Any) -> str:
    """Return a label in the form of the keys of `labels`: "1" for 1, 1.0 and "1"; "true" for True."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(_as_text(value)).strip()


def guess(rows: Sequence[Row], kinds: Sequence[str]) -> str:
    """Return recipe lines that give rows of an unknown shape one of these kinds, by the names and values of columns.

    `columns: {prompt: question, completion: answer}`, followed by `labels: {…}` where the values of a label have no
    names yet; the user must write them. Empty if no columns fit.
    """
    usable = [row for row in rows if row]
    for kind in kinds if usable else ():
        columns, labels = _GUESSES[kind](_Columns(usable))
        if columns:
            return recipe_line(columns, labels)
    return ""


def recipe_line(columns: Mapping[str, str], labels: Mapping[str, str | bool]) -> str:
    """Return columns and labels as a recipe and --columns have them, in one line; empty for none."""
    named = {"columns": columns, "labels": labels}
    return ", ".join(f"{key}: {_mapping(entries)}" for key, entries in named.items() if entries)


def ratings(values: Iterable[str]) -> dict[str, str | bool]:
    """Return names of the labels of good and bad answers, as far as their words say which is which."""
    return {
        value: value.lower() in GOOD if value.lower() in (*GOOD, *BAD) else "true if it is good"
        for value in values
    }


_NONE: Guess = ({}, {})


class _Columns:
    """The columns of the first rows, by their names in lower case."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows, first = rows, rows[0]
        self.named = {str(key).strip().lower(): str(key) for key in first if not is_template(str(key))}
        self.values = {name: first[key] for name, key in self.named.items()}
        self.texts = [name for name, value in self.values.items() if isinstance(value, str)]
        self.single = [name for name, value in self.values.items() if not isinstance(value, list | dict)]
        self.asks = _first(ASKING, self.texts)

    def written(self, names: Mapping[str, str | None]) -> dict[str, str]:
        """Return columns as they are written; {} if one is missing."""
        if not all(names.values()):
            return {}
        return {key: self.named[name] for key, name in names.items() if name is not None}

    def of(self, name: str) -> list[str]:
        """Return the different values of a column."""
        values = (row.get(self.named[name]) for row in self.rows)
        return sorted({label_of(value) for value in values if value is not None})

    def prompt(self, asks: str) -> str:
        """Return the column that asks, with the text that it asks about, if there is one."""
        about = _first(ABOUT, [name for name in self.texts if name != asks])
        return self.named[asks] if about is None else f"{{{self.named[about]}}}\n\n{{{self.named[asks]}}}"


def _conversation(table: _Columns) -> Guess:
    for name, turns in table.values.items():
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            key = "messages" if "role" in turns[0] else "conversations" if "from" in turns[0] else ""
            if key:
                return {key: table.named[name]}, {}
    if _preference(table)[0] or (_first(BETTER, table.texts) and _first(WORSE, table.texts)):
        return _NONE
    asks = table.asks
    answer = _first(ANSWERING, table.single, but=asks) or _first(LABELS, table.single, but=asks)
    if answer is None:  # by its place: the last one of those that are no metadata
        others = [name for name in table.single if name not in (asks, *ABOUT, *BESIDE)]
        answer = others[-1] if others and (asks is not None or len(others) > 1) else None
    if answer is None:
        return _NONE
    if asks is not None:
        prompt = table.prompt(asks) if answer not in ABOUT else table.named[asks]
    else:
        asked = [table.named[name] for name in table.texts if name != answer and name not in BESIDE]
        prompt = asked[0] if len(asked) == 1 else "\n\n".join(f"{{{name}}}" for name in asked)
    columns = {"prompt": prompt, "completion": table.named[answer]}
    return (columns, _labels(answer, table.of(answer))) if prompt else _NONE


def _preference(table: _Columns) -> Guess:
    better, worse = _first(BETTER, table.texts), _first(WORSE, table.texts)
    if better and worse:
        return table.written({"prompt": table.asks, "chosen": better, "rejected": worse}), {}
    matches = [(name, match) for name in table.texts if (match := _NUMBERED.fullmatch(name))]
    for name, match in matches:
        for other, other_match in matches:
            if match[1] == other_match[1] and match[2] + other_match[2] in ("ab", "01", "12"):
                asks = table.asks or next((text for text in table.texts if text not in (name, other)), None)
                columns = table.written({"prompt": asks, "chosen": name, "rejected": other})
                return _with_winner(table, columns, (name, match[2]), (other, other_match[2]))
    return _NONE


def _with_winner(
    table: _Columns, columns: dict[str, str], first: Sequence[str], second: Sequence[str]
) -> Guess:
    """Add the column that says which of two answers is the better one, and what its values say."""
    left = [name for name in table.single if table.named[name] not in columns.values()]
    winner = _first(WINNER, left)
    if not columns or winner is None:
        return columns, {}
    labels: dict[str, str | bool] = {}
    for value in table.of(winner)[:MOST_LABELS]:
        said = value.lower()
        is_told = said in first or said in second
        labels[value] = said in first if is_told else f"true if {columns['chosen']} is better"
    return {**columns, "label": table.named[winner]}, labels


def _labelled(table: _Columns) -> Guess:
    answer = _first(ANSWERING, table.texts, but=table.asks)
    left = [name for name in table.single if name not in (table.asks, answer)]
    label = _first(LABELS, left) or _first(RATED, left)
    columns = table.written({"prompt": table.asks, "completion": answer, "label": label})
    values = [] if label is None else table.of(label)
    if not columns or len(values) > MOST_RATINGS:
        return _NONE
    if {value.lower() for value in values} <= {"true", "false", "0", "1"}:
        return columns, {}
    return columns, ratings(values)


def _text(table: _Columns) -> Guess:
    longest = max(table.texts, key=lambda name: len(str(table.values[name])), default=None)
    return table.written({"text": _first(TEXTS, table.texts) or longest}), {}


def _prompt(table: _Columns) -> Guess:
    if table.asks is None:
        columns, labels = _conversation(table)
        return {"answer" if key == "completion" else key: name for key, name in columns.items()}, labels
    answer = _first(ANSWERING, table.single, but=table.asks)
    return table.written({"prompt": table.asks, **({"answer": answer} if answer else {})}), {}


_GUESSES: dict[str, Callable[[_Columns], Guess]] = {
    "conversation": _conversation,
    "preference": _preference,
    "labelled": _labelled,
    "text": _text,
    "prompt": _prompt,
}


def _first(wanted: Iterable[str], names: Iterable[str], but: str | None = None) -> str | None:
    """Return the first wanted name that exists, exactly or else as the end of another (customer_question)."""
    given = [name for name in names if name != but]
    whole = next((name for name in wanted if name in given), None)
    return whole or next((name for ending in wanted for name in given if name.endswith(f"_{ending}")), None)


def _labels(column: str, values: Sequence[str]) -> dict[str, str]:
    """Return placeholders for labels that are numbers, or true and false; {} if they are words."""
    is_coded = all(re.fullmatch(r"-?[0-9]{1,6}|[Tt]rue|[Ff]alse", value) for value in values)
    is_answer = _first(ANSWERING, [column]) is not None  # a number may be the real answer
    if is_answer or not values or len(values) > MOST_LABELS or not is_coded:
        return {}
    return {value: f"name of {value}" for value in sorted(values, key=lambda value: (len(value), value))}


def _mapping(entries: Mapping[str, str | bool]) -> str:
    written = [f"{_scalar(key, is_key=True)}: {_scalar(value)}" for key, value in entries.items()]
    return f"{{{', '.join(written)}}}"


def _scalar(text: str | bool, *, is_key: bool = False) -> str:
    """Write a text so that YAML reads it as one; a number may be a key, which is always text."""
    if isinstance(text, bool):
        return str(text).lower()
    words = text.split(" ")
    is_plain = all(map(_PLAIN.fullmatch, words)) and text.lower() not in _OTHERWISE
    if is_key and re.fullmatch(r"-?[0-9]+|[Tt]rue|[Ff]alse", text):
        return text
    if is_plain or text.startswith(("name of ", "true if ")):
        return text
    return json.dumps(text, ensure_ascii=False)


def places(columns: Mapping[str, str], message: str) -> Iterator[str]:
    """Yield which columns the keys in an error message come from, to append to it."""
    for key, written in columns.items():
        if key != written and re.search(rf": {key}\b", message):
            yield f"{key} is {'made of' if is_template(written) else 'the column'} {quoted(written)}."
