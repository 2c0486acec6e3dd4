"""What the findings that compare rows see of one: its words as numbers, and hashes of the row and its parts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from finetop.core.data import formats
from finetop.core.data.similarity.word_codes import codes_of, fingerprint_of, folded

if TYPE_CHECKING:
    from finetop.core.features.lint.row import Lens, Row

# row, question, answer, context, worse answer; kind; words of both sides
HEAD: Final = struct.Struct("<QQQQQHHH")
_HASHES, _SIZES = ("row", "question", "answer", "context", "worse"), ("kind", "asked", "answered")
COLUMNS: Final = np.dtype([(name, "<u8") for name in _HASHES] + [(name, "<u2") for name in _SIZES])
LONGEST: Final = 8192  # words of a question or an answer that are compared
CONVERSATION, TEXT, PREFERENCE, GOOD, BAD, PROMPT = range(6)


def scan(row: Row, lens: Lens) -> bytes | None:
    """Return a row's hashes and words, packed."""
    if not row.turns:
        return None
    context, question, answer, worse = _parts(row)
    question_codes, answer_codes = codes_of(question)[:LONGEST], codes_of(answer)[:LONGEST]
    if not len(question_codes) and not len(answer_codes):
        return None
    kind = _kind(row)
    context, question, answer, worse = map(folded, (context, question, answer, worse))
    hashes = (
        fingerprint_of(str(kind), context, question, answer, worse),
        fingerprint_of(context, question),
        fingerprint_of(answer),
        fingerprint_of(context),
        fingerprint_of(worse),
    )
    head = HEAD.pack(*hashes, kind, len(question_codes), len(answer_codes))
    return head + question_codes.tobytes() + answer_codes.tobytes()


def _parts(row: Row) -> tuple[str, str, str, str]:
    """Return the system prompt, the question, the answer, and the worse of two answers."""
    if row.is_text:
        return "", "", row.answer, ""
    roles = [turn.role for turn in row.turns]
    last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles)
    before = [turn for turn in row.turns[:last] if turn.role != "rejected"]
    return (
        "\n".join(turn.text for turn in before if turn.role == "system"),
        "\n\n".join(turn.text for turn in before if turn.role != "system"),
        row.answer + _calls(row),
        "\n".join(turn.text for turn in row.turns if turn.role == "rejected"),
    )


def _calls(row: Row) -> str:
    """Return the tool calls of the last answer, as text."""
    if not isinstance(row.record, formats.Conversation) or not row.record.calls:
        return ""
    calls: list[dict[str, Any]] = [{"call": call.name, **call.arguments} for call in row.record.calls]
    return "\n" + msgspec.json.encode(calls, order="deterministic").decode()


def _kind(row: Row) -> int:
    match row.record:
        case formats.Preference():
            return PREFERENCE
        case formats.Labelled(_, _, is_good):
            return GOOD if is_good else BAD
        case formats.Prompt():
            return PROMPT
    return TEXT if row.is_text else CONVERSATION
