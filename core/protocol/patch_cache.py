"""What both ends of a slow connection hold of the last answers, so that the next one may come as what has changed.

A client that wants this says with a request which earlier one's answer it holds (0: none). The supervisor keeps the
last answers to such requests, a few for each verb, as long as the connection lives. Whoever has let go of one, or does
not know of any of this, gets or gives the whole answer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core import protocol
from finetop.core.protocol.patch import DoesNotFit, difference, patched

VERBS = (protocol.Runs, protocol.GetRun, protocol.Curves, protocol.EventsSince)  # asked for again and again
FEW = 2  # answers of a verb: the charts of a run and its sparklines
LARGEST = 1 << 20  # bytes of an answer that is held

_encode = protocol.encoder.encode


class Told:
    """The supervisor's end: the last answers to one caller, by the number of their request."""

    def __init__(self) -> None:
        self._answers: dict[type, dict[int, Any]] = {}

    def reply(self, request: protocol.Request, answer: bytes) -> dict[str, Any]:
        """Give the reply to a request, from its whole answer."""
        number, held = request.id, request.held
        whole = {"id": number, "answer": msgspec.Raw(answer)}
        if held is None or not isinstance(request.ask, VERBS):
            return whole
        before = self._answers.setdefault(type(request.ask), {})
        known = held in before
        old = before.pop(held, None)
        if len(answer) > LARGEST:
            return whole
        before[number] = new = msgspec.json.decode(answer)
        while len(before) > FEW:
            del before[next(iter(before))]
        patch = _encode(difference(old, new))
        return {"id": number, "patch": msgspec.Raw(patch)} if known and len(patch) < len(answer) else whole


class Heard:
    """The client's end: the last answer to each question that is asked again."""

    def __init__(self) -> None:
        self._answers: dict[type, dict[bytes, tuple[int, Any]]] = {}

    def number(self, ask: protocol.Ask) -> int | None:
        """Say which earlier request's answer is held; 0 where none is, None where none is of use."""
        if not isinstance(ask, VERBS):
            return None
        return self._answers.get(type(ask), {}).get(_question(ask), (0, None))[0]

    def answer(self, ask: protocol.Ask, reply: protocol.Reply) -> bytes:
        """Give the whole answer, and hold it. Raises DoesNotFit, and msgspec.DecodeError."""
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
        """Hold nothing: the connection is another."""
        self._answers.clear()


def _question(ask: protocol.Ask) -> bytes:
    if isinstance(ask, protocol.EventsSince):  # whichever steps: the run's own row is the same
        ask = msgspec.structs.replace(ask, after_step=0)
    return _encode(ask)
