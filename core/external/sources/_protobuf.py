"""The fields of a protobuf message, without its schema (protobuf.dev, Encoding)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Broken(ValueError):
    """The bytes are no message."""


def fields(message: int | bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value: an integer (also of fixed 32 and 64 bits), or bytes. Raises Broken."""
    if isinstance(message, int):
        raise Broken("a number is no message")
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            length, at = _varint(message, at)
        if length is None or at + length > len(message):
            raise Broken("cut or damaged")
        raw = message[at : at + length]
        at += length
        yield number, raw if kind == BYTES else int.from_bytes(raw, "little")


def varints(packed: bytes) -> Iterator[int]:
    """Yield the numbers of a packed field. Raises Broken."""
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise Broken("cut or damaged")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
