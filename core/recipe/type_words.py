"""Describe the values of a setting in words: 'a whole number, 1 or more', 'one of auto, bfloat16'."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args, get_origin

from finetop.core.text import number_words


def type_words(annotation: Any) -> str:
    """Return the values that an annotation allows in words, ranges included."""
    from msgspec import inspect

    if allowed := choices(annotation):  # msgspec sorts them
        return allowed[0] if len(allowed) == 1 else f"one of {', '.join(allowed)}"
    return _words(inspect.type_info(annotation))


def choices(annotation: Any) -> tuple[str, ...]:
    """Return the words that a setting is limited to, in the order of the schema; empty if it is not."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return tuple(str(value) for value in get_args(annotation)) if get_origin(annotation) is Literal else ()


def _bare(info: Any) -> Any:
    from msgspec import inspect

    while isinstance(info, inspect.Metadata):
        info = info.type
    return info


def _words(info: Any) -> str:
    from msgspec import inspect

    if isinstance(info, inspect.Metadata) and info.extra and "words" in info.extra:
        return str(info.extra["words"])
    info = _bare(info)
    if isinstance(info, inspect.UnionType):
        # null last: it is the least likely to be meant
        parts = sorted(info.types, key=lambda part: isinstance(_bare(part), inspect.NoneType))
        return " or ".join(_words(part) for part in parts)
    if isinstance(info, inspect.LiteralType):
        values = ", ".join(str(value) for value in info.values)
        return values if len(info.values) == 1 else f"one of {values}"
    match info:
        case inspect.IntType():
            return f"a whole number{_range(info)}"
        case inspect.FloatType():
            return f"a number{_range(info)}"
        case inspect.StrType():
            return _text_words(info)
        case inspect.VarTupleType():
            return f"a list {_items(info.item_type)}"
    others = {inspect.BoolType: "true or false", inspect.AnyType: "any value", inspect.NoneType: "null"}
    return others.get(type(info), "a mapping")


def _items(info: Any) -> str:
    from msgspec import inspect

    info = _bare(info)
    if isinstance(info, inspect.StructType):
        return f"such as [{{{info.fields[0].name}: …}}]"
    if isinstance(info, inspect.LiteralType):
        return "of these"
    if isinstance(info, inspect.FloatType):
        return "of numbers"
    return "of whole numbers" if isinstance(info, inspect.IntType) else "of texts"


def _text_words(info: Any) -> str:
    if info.pattern:
        # the only pattern in the schema: alternatives, with N for a number
        return f"one of {info.pattern.strip('^$()').replace('[1-9]?[0-9]', 'N').replace('|', ', ')}"
    if info.max_length:
        return f"text of {info.min_length or 0} to {info.max_length} characters"
    return "text"


def _range(info: Any) -> str:
    low, low_word = (info.ge, "") if info.ge is not None else (info.gt, "above ")
    high, high_word = (info.le, "") if info.le is not None else (info.lt, "below ")
    if low is None and high is None:
        return ""
    # typing keeps one of two equal annotations, 0 or 0.0: whichever module was imported first
    low, high = (
        int(limit) if isinstance(limit, float) and limit.is_integer() else limit for limit in (low, high)
    )
    if high is None or high >= 10**9:
        return f" above {low}" if low_word else f", {low} or more"
    if low_word or high_word:
        return f" {low_word or 'from '}{low}, {high_word or 'at most '}{high}"
    return f" from {low} to {high}"


def value_words(value: Any) -> str:
    """Return a setting's value as written in a recipe."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return number_words(value)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else json.dumps(value)
