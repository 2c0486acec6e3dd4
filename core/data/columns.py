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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from finetop.core.data.files import Place

Row = dict[str, Any]
# Usual names of a prompt's column.
ASKING: tuple[str, ...] = ("prompt", "question", "query", "instruction", "input", "user", "human")
ASKING += ("source", "context", "sentence", "review", "text")
ANSWERING = ("completion", "answer", "response", "output", "reply", "target", "assistant")
LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic")
BETTER = ("chosen", "preferred", "accepted", "better", "winner", "positive")
WORSE = ("rejected", "dispreferred", "refused", "worse", "loser", "negative")
TEXTS = ("text", "content", "body", "document", "article", "passage", "page_content")
MOST_LABELS = 50  # different values in a guess
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
        return {key: value if key == "label" else _text(value) for key, value in values.items()}
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
    text = _text(value)
    return text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)


def _text(value: Any) -> Any:
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
        return {**row, key: named if key == "label" else _text(named)}
    column = columns.get(key, key)
    hint = f"It names {', '.join(labels)}: add {quoted(value)}, or fix the row."
    raise BadData(f"{place}: {column} is {quoted(value)}, which labels does not name.", hint=hint)


def label_of(value: Any) -> str:
    """Return a label in the form of the keys of `labels`: "1" for 1, 1.0 and "1"; "true" for True."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(_text(value)).strip()


def guess(rows: Sequence[Row], kinds: Sequence[str]) -> str:
    """Return recipe lines that give rows of an unknown shape a known one, as far as their columns' names allow.

    `columns: {prompt: question, completion: answer}`, followed by `labels: {…}` if the answer is a number, true or
    false; the user must write the labels' names. Empty if there is no second column.
    """
    columns = _guessed(rows[0], tuple(kinds)) if rows else {}
    if not columns:
        return ""
    line = f"columns: {_mapping(columns)}"
    if "label" not in columns and (names := _labels(columns.get("completion", ""), rows)):
        return f"{line}, labels: {_mapping(names)}"
    return line


def _guessed(row: Row, kinds: tuple[str, ...]) -> dict[str, str]:
    by_name = {str(key).strip().lower(): str(key) for key in row if not is_template(str(key))}
    lists = {name: row[key] for name, key in by_name.items() if isinstance(row[key], list) and row[key]}
    for name, turns in lists.items():
        if "conversation" in kinds and isinstance(turns[0], dict):
            if "role" in turns[0]:
                return {"messages": by_name[name]}
            if "from" in turns[0]:
                return {"conversations": by_name[name]}
    texts = [name for name in by_name if isinstance(row[by_name[name]], str)]
    asks = _first(ASKING, texts)
    for kind in kinds:
        names: dict[str, str | None] = {}
        if kind == "conversation":
            answers = _first(ANSWERING, by_name, but=asks) or _first(LABELS, by_name, but=asks)
            if asks is None and answers is not None:
                asks = next((name for name in texts if name != answers), None)
            names = {"prompt": asks, "completion": answers}
        elif kind == "preference":
            names = {"prompt": asks, "chosen": _first(BETTER, texts), "rejected": _first(WORSE, texts)}
        elif kind == "labelled":
            label = _first(LABELS, by_name) or _first(("good", "is_good", "rating", "score"), by_name)
            names = {"prompt": asks, "completion": _first(ANSWERING, texts, but=asks), "label": label}
        elif kind == "text":
            names = {"text": _first(TEXTS, texts) or (texts[0] if len(texts) == 1 else None)}
        elif kind == "prompt" and asks is not None:
            answer = _first(ANSWERING, by_name, but=asks)
            names = {"prompt": asks, **({"answer": answer} if answer else {})}
        if names and all(names.values()):
            return {key: by_name[name] for key, name in names.items() if name is not None}
    if "conversation" in kinds and len(by_name) == 2 and texts:
        prompt = texts[0]
        return {"prompt": by_name[prompt], "completion": next(by_name[n] for n in by_name if n != prompt)}
    return {}


def _first(wanted: Iterable[str], names: Iterable[str], but: str | None = None) -> str | None:
    """Return the first wanted name that exists, exactly or else as the end of another (customer_question)."""
    given = [name for name in names if name != but]
    whole = next((name for name in wanted if name in given), None)
    return whole or next((name for ending in wanted for name in given if name.endswith(f"_{ending}")), None)


def _labels(column: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return placeholders for labels that are numbers, or true and false; {} if they are words."""
    values = sorted({label_of(row[column]) for row in rows if row.get(column) is not None})
    is_coded = all(re.fullmatch(r"-?[0-9]{1,6}|[Tt]rue|[Ff]alse", value) for value in values)
    is_answer = _first(ANSWERING, [column.lower()]) is not None  # a number may be the real answer
    if is_answer or not values or len(values) > MOST_LABELS or not is_coded:
        return {}
    return {value: f"name of {value}" for value in sorted(values, key=lambda value: (len(value), value))}


def _mapping(entries: Mapping[str, str]) -> str:
    written = [f"{_scalar(key, is_key=True)}: {_scalar(value)}" for key, value in entries.items()]
    return f"{{{', '.join(written)}}}"


def _scalar(text: str, *, is_key: bool = False) -> str:
    """Write a text so that YAML reads it as one; a number may be a key, which is always text."""
    words = text.split(" ")
    is_plain = all(map(_PLAIN.fullmatch, words)) and text.lower() not in _OTHERWISE
    if is_key and re.fullmatch(r"-?[0-9]+|[Tt]rue|[Ff]alse", text):
        return text
    if is_plain or re.fullmatch(r"name of -?\w+", text):
        return text
    return json.dumps(text, ensure_ascii=False)


def places(columns: Mapping[str, str], message: str) -> Iterator[str]:
    """Yield which columns the keys in an error message come from, to append to it."""
    for key, written in columns.items():
        if key != written and re.search(rf": {key}\b", message):
            yield f"{key} is {'made of' if is_template(written) else 'the column'} {quoted(written)}."
