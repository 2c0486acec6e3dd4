"""The last answers that both ends of a slow connection hold, so that the next one can be sent as a patch.

A client that wants this names in its request the earlier one whose answer it holds (0: none). The supervisor keeps the
last answers to such requests, a few per verb, while the connection lives. If either end has dropped an answer, or does
not support this, the whole answer is sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.protocol.messages.runs import Curves, EventsSince, GetRun, Runs
from finetop.core.protocol.patch import DoesNotFit, difference, patched
from finetop.core.protocol.request import Ask
from finetop.core.protocol.wire import Envelope, Reply, encoder

VERBS = (Runs, GetRun, Curves, EventsSince)  # requested repeatedly
FEW = 2  # answers per verb: the charts of a run and its sparklines
LARGEST = 1 << 20  # bytes of an answer that is held

_encode = encoder.encode


class SentAnswers:
    """The supervisor's end: the last answers to one client, by request id."""

    def __init__(self) -> None:
        self._answers: dict[type, dict[int, Any]] = {}

    def reply(self, envelope: Envelope, ask: Ask, answer: bytes) -> dict[str, Any]:
        """Return the reply to a request: the whole answer, or a patch if that is smaller."""
        number, held = envelope.id, envelope.held
        whole = {"id": number, "answer": msgspec.Raw(answer)}
        if held is None or not isinstance(ask, VERBS):
            return whole
        before = self._answers.setdefault(type(ask), {})
        is_known = held in before
        old = before.pop(held, None)
        if len(answer) > LARGEST:
            return whole
        before[number] = new = msgspec.json.decode(answer)
        while len(before) > FEW:
            del before[next(iter(before))]
        patch = _encode(difference(old, new))
        return {"id": number, "patch": msgspec.Raw(patch)} if is_known and len(patch) < len(answer) else whole


class HeldAnswers:
    """The client's end: the last answer to each repeated request."""

    def __init__(self) -> None:
        self._answers: dict[type, dict[bytes, tuple[int, Any]]] = {}

    def number(self, ask: Ask) -> int | None:
        """Return the id of the request whose answer is held; 0 if none is, None if the verb is not cached."""
        if not isinstance(ask, VERBS):
            return None
        return self._answers.get(type(ask), {}).get(_question(ask), (0, None))[0]

    def answer(self, ask: Ask, reply: Reply) -> bytes:
        """Return the whole answer, and hold it. Raises DoesNotFit, and msgspec.DecodeError."""
        if not isinstance(ask, VERBS):
            return bytes(reply.answer)
        before, question = self._answers.setdefault(type(ask), {}), _question(ask)
        old = before.pop(question, None)
        if not bytes(reply.patch):
            whole = bytes(reply.answer)
            new = msgspec.json.decode(whole)
        elif old is None:
            raise DoesNotFit("nothing is held")
        else:
            new = patched(old[1], msgspec.json.decode(reply.patch))
            whole = _encode(new)
        if len(whole) <= LARGEST:
            before[question] = (reply.id, new)
        while len(before) > FEW:
            del before[next(iter(before))]
        return whole

    def forget(self) -> None:
        """Drop all answers, for a new connection."""
        self._answers.clear()


def _question(ask: Ask) -> bytes:
    if isinstance(ask, EventsSince):  # whichever steps: the run's own row is the same
        ask = msgspec.structs.replace(ask, after_step=0)
    return _encode(ask)
