"""The bytes of event files and of wandb's files, built without any of ours."""

from __future__ import annotations

import json
import struct
from typing import Any

BLOCK, HEADER = 1 << 15, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def message(*parts: tuple[int, int | float | bytes | str]) -> bytes:
    """Encode a protobuf message: integers as varints, floats as doubles, texts and bytes with their length."""
    raw = b""
    for number, value in parts:
        if isinstance(value, int):
            raw += varint(number << 3 | VARINT) + varint(value)
        elif isinstance(value, float):
            raw += varint(number << 3 | FIXED64) + struct.pack("<d", value)
        else:
            value = value.encode() if isinstance(value, str) else value
            raw += varint(number << 3 | BYTES) + varint(len(value)) + value
    return raw


def simple(tag: str, value: float) -> bytes:
    return message((1, tag)) + varint(2 << 3 | FIXED32) + struct.pack("<f", value)


def framed(record: bytes) -> bytes:
    return struct.pack("<Q", len(record)) + b"crc!" + record + b"crc!"


def scalars(step: int, at: float = 0.0, **values: float) -> bytes:
    """Return an event file's records, one a value; `__` in a name stands for /."""
    tags = ((name.replace("__", "/"), value) for name, value in values.items())
    return b"".join(
        framed(message((1, at), (2, step), (5, message((1, simple(tag, value)))))) for tag, value in tags
    )


def tensor(step: int, tag: str, dtype: int, *parts: tuple[int, int | float | bytes | str]) -> bytes:
    value = message((1, tag), (8, message((1, dtype), *parts)))
    return framed(message((1, 1.0), (2, step), (5, message((1, value)))))


def history(step: int, **values: Any) -> bytes:
    """Return wandb's Record of one log call; `__` in a name stands for a nested key."""
    items = []
    for name, value in values.items():
        keys = name.split("__")
        named = [(1, name)] if len(keys) == 1 else [(2, key) for key in keys]
        items.append((1, message(*named, (16, json.dumps(value)))))
    return message((2, message(*items, (2, message((1, step)) if step else b""))))


class Leveldb:
    """A LevelDB log with wandb's header: records in pieces, none over the border of a block."""

    def __init__(self, begins: bytes = b":W&B\xe1\xbe\x00") -> None:
        self._begins, self._size = begins, len(begins)

    def add(self, record: bytes) -> bytes:
        """Return the bytes that append a record."""
        raw, self._begins = bytearray(self._begins), b""
        self._size -= len(raw)
        at, is_first = 0, True
        while at < len(record) or is_first:
            left = BLOCK - (self._size + len(raw)) % BLOCK
            if left < HEADER:
                raw += b"\0" * left
                continue
            piece = record[at : at + left - HEADER]
            at += len(piece)
            is_last = at == len(record)
            kind = (WHOLE if is_first else LAST) if is_last else (FIRST if is_first else MIDDLE)
            raw += b"crc!" + len(piece).to_bytes(2, "little") + bytes((kind,)) + piece
            is_first = False
        self._size += len(raw)
        return bytes(raw)


def leveldb(*records: bytes, begins: bytes = b":W&B\xe1\xbe\x00") -> bytes:
    """Return such a log."""
    log = Leveldb(begins)
    return b"".join(map(log.add, records)) or begins
