"""A row as findings see it: read as training reads it, or if that fails, as far as it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from finetop.core.data import formats, target_rows
from finetop.core.data.formats.sharegpt import ROLES
from finetop.core.errors import BadData, FinetopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finetop.core.data.formats import Kind, Record
    from finetop.core.features.lint.report import SourceRole

Fault = Literal["", "json", "shape", "turns", "empty"]
KNOWN_ROLES = ("system", "user", "assistant", "tool")


class Lens(msgspec.Struct, frozen=True):
    """What is the same for every row: what the rows are for, and how they are measured."""

    # those that the objective reads, its preferred one first
    kinds: tuple[str, ...] = ("conversation", "text", "preference", "labelled", "prompt")
    objective: str | None = None
    max_tokens: int | None = None  # None: nothing is cut
    on_long: str | None = None
    has_tokenizer: bool = False
    options: tuple[str, ...] = ()
    sample: int = 2000  # rows at most that a finding scores with a model


class Turn(msgspec.Struct, frozen=True):
    """A turn. `role` is system, user, assistant or tool, "text" for plain text, "rejected" for the worse of two
    answers, else as written in the row; a turn without text may have tool calls.
    """

    role: str
    text: str
    has_calls: bool = False
    is_learned: bool = True  # False: an answer of weight 0


class Row(msgspec.Struct, frozen=True):
    """One row. `at` is its number over all sources, from 0; `line` its line or number in its own, from 1.

    `record` is what training would read, None if training would stop; then `fault` is the kind of fault, and `why` the
    reason in words. `turns`, `asked` and `answer` hold what could be read.
    """

    at: int
    source: int
    line: int
    place: str  # faq.jsonl:17
    role: SourceRole
    raw: dict[str, Any] | None  # the JSON object
    record: Record | None
    fault: Fault
    why: str
    turns: tuple[Turn, ...]
    asked: str  # all texts before the answer, a blank line between them
    answer: str  # the text to learn: the last answer, the better one of two, or a plain text
    tokens: int = 0  # as the model sees the row, before anything is cut
    learned: int = 0  # those with a loss
    kept: int = 0  # those left after cutting or dropping
    rewritten: int = 0  # earlier answers that the chat template changes, which are not learned
    refused: str = ""  # why the chat template refuses the row

    @property
    def is_text(self) -> bool:
        """Return whether the row is plain text, without a question."""
        return bool(self.turns) and self.turns[0].role == "text"

    @property
    def learned_texts(self) -> tuple[str, ...]:
        """Return every text that the model learns to write: all answers of a conversation, or the plain text."""
        return tuple(
            turn.text for turn in self.turns if turn.role in ("assistant", "text") and turn.is_learned
        )


def kinds_for(lens: Lens, role: SourceRole) -> tuple[Kind, ...]:
    """Return the kinds that rows in a role may have: a recipe's test has its own, whatever is learned."""
    kinds: Any = target_rows.KINDS if role == "test" and lens.objective is not None else lens.kinds
    return tuple(kinds)


def format_of(raw: Mapping[str, Any], kinds: Sequence[Kind]) -> str | None:
    """Return a row's format, or None if unknown; `label` and `chosen` decide between formats that both fit."""
    if isinstance(raw.get("label"), bool) and "labelled" in kinds:
        kinds = ("labelled", *kinds)
    if ("chosen" in raw or "rejected" in raw) and "preference" in kinds:
        kinds = ("preference", *kinds)
    try:
        return formats.detect(raw, "", kinds)
    except BadData:
        return None


def unread(at: int, source: int, line: int, place: str, role: SourceRole, why: str) -> Row:
    """Return the row of a line that is no JSON object."""
    return Row(at, source, line, place, role, None, None, "json", why, (), "", "")


def read(
    raw: dict[str, Any],
    format_name: str | None,
    kinds: Sequence[Kind],
    at: int,
    source: int,
    line: int,
    place: str,
    role: SourceRole,
) -> Row:
    """Read a row of a known format as training does, else as far as possible."""
    record, why = None, "fits no format"
    try:
        if format_name is not None:
            record = formats.read(raw, place, format_name, kinds)
    except FinetopError as error:
        why = error.message.removeprefix(f"{place}: ").rstrip(".")
    if record is not None:
        turns = tuple(_turns_of(record))
        return Row(at, source, line, place, role, raw, record, "", "", turns, *_two_sides(turns))
    turns = tuple(turns_in(raw))
    return Row(at, source, line, place, role, raw, None, _fault(raw, turns), why, turns, *_two_sides(turns))


def _turns_of(record: Record) -> Iterator[Turn]:
    match record:
        case formats.Text(text):
            yield Turn("text", text)
            return
        case formats.Conversation(prompt, answer):
            last = [Turn("assistant", answer, bool(record.calls), record.is_learned)]
        case formats.Preference(prompt, chosen, rejected):
            last = [Turn("assistant", chosen), Turn("rejected", rejected)]
        case formats.Labelled(prompt, answer):
            last = [Turn("assistant", answer)]
        case formats.Prompt(prompt, answer):
            last = [] if answer is None else [Turn("assistant", answer)]
    for message in prompt:
        yield Turn(message.role, message.content, bool(message.calls), message.is_learned)
    yield from last


def _two_sides(turns: tuple[Turn, ...]) -> tuple[str, str]:
    """Return the question and the answer."""
    for number in range(len(turns) - 1, -1, -1):
        if turns[number].role in ("assistant", "text"):
            return "\n\n".join(turn.text for turn in turns[:number]), turns[number].text
    return "\n\n".join(turn.text for turn in turns), ""


def turns_in(raw: Mapping[str, Any]) -> Iterator[Turn]:
    """Yield the turns in a row of any shape, however broken they are."""
    for key, role_key, text_key in (("messages", "role", "content"), ("conversations", "from", "value")):
        if isinstance(raw.get(key), list):
            yield from (_turn(turn, role_key, text_key) for turn in raw[key])
    for key, role in (("system", "system"), ("instruction", "user"), ("input", "user"), ("prompt", "user")):
        yield from _written(raw.get(key), role, is_wanted=key in raw and key not in ("system", "input"))
    for key in ("output", "completion", "chosen", "rejected"):
        if key in raw:
            yield from _written(raw[key], "rejected" if key == "rejected" else "assistant", is_wanted=True)
    if isinstance(raw.get("text"), str) and not raw.keys() & {"messages", "conversations", "prompt"}:
        yield Turn("text", raw["text"])


def _written(value: Any, role: str, *, is_wanted: bool) -> Iterator[Turn]:
    """Yield the turns of a text or a list of turns; an empty one only if something must be there."""
    if isinstance(value, list):
        yield from (_turn(turn, "role", "content") for turn in value)
    elif isinstance(value, str) and (value or is_wanted):
        yield Turn(role, value)
    elif is_wanted and value is None:
        yield Turn(role, "")


def _turn(turn: Any, role_key: str, text_key: str) -> Turn:
    if not isinstance(turn, dict):
        return Turn("?", turn if isinstance(turn, str) else "")
    who, text = turn.get(role_key), turn.get(text_key)
    role = ROLES.get(who, who) if isinstance(who, str) and role_key == "from" else who
    calls = bool(turn.get("tool_calls")) or who == "function_call"
    return Turn(str(role)[:60], text if isinstance(text, str) else "", calls)


def _fault(raw: Mapping[str, Any], turns: Sequence[Turn]) -> Fault:
    """Return the kind of fault of a row that can't be read."""
    if not turns:
        is_listed = any(raw.get(key) == [] for key in ("messages", "conversations"))
        return "turns" if is_listed else "shape"
    if turns[0].role == "text":
        return "shape" if turns[0].text.strip() else "empty"
    answer = next((turn for turn in reversed(turns) if turn.role in ("assistant", "rejected")), None)
    is_in_turns = isinstance(raw.get("messages") or raw.get("conversations"), list)
    if answer is turns[-1] and not answer.text.strip() and not answer.has_calls and len(turns) > 1:
        return "empty"
    if any(not turn.text.strip() and not turn.has_calls for turn in turns):
        return "turns" if is_in_turns else "empty"
    return "turns" if is_in_turns else "shape"
