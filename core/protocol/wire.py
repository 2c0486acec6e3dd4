"""The protocol between clients and supervisor: one JSON object per line over the home's Unix socket.

    -> {"v": 1, "id": 7, "ask": {"verb": "runs", "limit": 50}}
    <- {"id": 7, "answer": {…}}   or   {"id": 7, "error": {"exit": 2, "message": …, "hint": …}}

Over a slow link an answer may be sent as a patch of an earlier one: see patch_cache.py. Requests are the classes in
messages/, a file per topic, and in each feature's messages.py; their type names the answer's. Requests on one
connection are answered in order, except `changes`, which waits; so a client that waits for changes opens a connection
of its own.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Union

import msgspec

from finetop.core import plugins
from finetop.core.plugins import PluginKind
from finetop.core.protocol.messages.limits import Large, Whole
from finetop.core.protocol.request import Ask, Order, Question

VERSION = 1
REQUEST_LIMIT = 4 << 20  # bytes of one request
ANSWER_LIMIT = 16 << 20
MESSAGES: PluginKind[Any] = PluginKind("module of messages", "finetop.core.protocol.messages", "_")


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request in transit: `ask` is its JSON."""

    v: Whole
    id: Large
    ask: msgspec.Raw
    held: Large | None = None  # the request whose answer the client holds: a patch of it is enough


class Error(msgspec.Struct, frozen=True):
    exit: int
    message: str
    hint: str = ""


class Reply(msgspec.Struct, frozen=True):
    id: int
    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    patch: msgspec.Raw = msgspec.Raw(b"")  # of the answer that the client holds, instead of `answer`


encoder = msgspec.json.Encoder()
envelope_decoder = msgspec.json.Decoder(Envelope)
reply_decoder = msgspec.json.Decoder(Reply)


def requests() -> list[type[Ask]]:
    """Return the classes of all requests."""
    for name in MESSAGES.names():
        import_module(f"{MESSAGES.package}.{name}")
    plugins.doors("messages")
    return [*Question.__subclasses__(), *Order.__subclasses__()]


@cache
def _ask_decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Union[tuple(requests())])  # noqa: UP007


def read_ask(ask: msgspec.Raw) -> Ask:
    """Decode the request in an envelope. Raises msgspec.DecodeError."""
    request: Ask = _ask_decoder().decode(ask)
    return request


def envelope(number: int, ask: Ask, held: int | None = None) -> bytes:
    """Encode a request as JSON."""
    return encoder.encode(Envelope(VERSION, number, msgspec.Raw(encoder.encode(ask)), held))
