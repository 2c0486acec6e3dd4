"""JSON documents: an array of objects, one object whose only list is the rows, or objects in sequence.

An array is read piece by piece, since it may be larger than memory. A row's place is its number, from 1.
"""

from __future__ import annotations

import codecs
import json
from typing import Any, BinaryIO

import msgspec

from finetop.core.data.files import FileType, Rows, _text, jsonl
from finetop.core.errors import BadData
from finetop.core.recipe.columns import row_keys

CHUNK = 1 << 20
_SPACE = " \t\r\n"
_LIST = 'Write [{"prompt": "…", "completion": "…"}, …].'
_decoder = json.JSONDecoder()


class JsonFile(FileType):
    about = "a JSON array of objects, or one object with a list of them"
    endings = (".json",)

    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield each row with its number. Raises BadData if the document itself is broken."""
        text = _Stream(file, name)
        first = text.peek()
        if first == "[":
            text.advance()
            yield from _items(text, 0)
        elif first == "{":
            yield from _objects(text)
        elif first:
            raise BadData(f"{name}: is not a JSON list of rows.", hint=_LIST)


def _items(text: _Stream, number: int) -> Rows:
    """Yield the items of an array whose opening bracket has been consumed."""
    if text.peek() == "]":
        text.advance()
        return
    while True:
        number += 1
        yield number, _row(text.value(number), text.name, number)
        following = text.peek()
        if following not in (",", "]"):
            raise text.fault(number, "has no comma after it" if following else "is the last complete row")
        text.advance()
        if following == "]":
            return


def _objects(text: _Stream) -> Rows:
    """Yield one object, or several in sequence, or the rows inside the only one."""
    try:
        whole = text.value(1, may_be_long=True)
    except _TooLong:
        yield from _within(text)
        return
    row = _row(whole, text.name, 1)
    key = _list_of_rows(row, text.name) if not text.peek() and isinstance(row, dict) else None
    if key is not None and isinstance(row, dict):
        for number, item in enumerate(row[key], start=1):
            yield number, item if isinstance(item, dict) else _no_object(item, f"{text.name}:{number}")
        return
    yield 1, row
    number = 1
    while text.peek():
        number += 1
        yield number, _row(text.value(number), text.name, number)


def _list_of_rows(row: dict[str, Any], name: str) -> str | None:
    """Return the key of the only list of objects in an object that is no row; None without one. Raises BadData."""
    filled = {key: value for key, value in row.items() if isinstance(value, list) and value}
    lists = [key for key, value in filled.items() if isinstance(value[0], dict)]
    if not lists or set(row_keys()) & set(lists):
        return None
    if len(lists) > 1:
        raise _two_lists(name, *lists)
    return lists[0]


def _within(text: _Stream) -> Rows:
    """Yield the rows of the only list in an object that is larger than a row may be."""
    text.advance()
    key_of_rows = None
    while True:
        key = json.loads(text.value(1))
        if text.peek() != ":":
            raise text.fault(1, "has a key without a colon after it")
        text.advance()
        if text.peek() == "[" and text.peek_within() == "{":
            if key_of_rows is not None:
                raise _two_lists(text.name, key_of_rows, key)
            key_of_rows = key
            text.advance()
            yield from _items(text, 0)
        else:
            text.value(1)
        following = text.peek()
        if following not in (",", "}"):
            raise text.fault(1, "is an object that is never closed")
        text.advance()
        if following == "}":
            if key_of_rows is None:
                raise BadData(f"{text.name}: has no list of rows.", hint="Write an array of objects.")
            return


def _two_lists(name: str, *keys: str) -> BadData:
    message = f"{name}: has two lists of rows, {' and '.join(keys[:2])}."
    return BadData(message, hint="Write each into a file of its own.")


def _row(written: str, name: str, number: int) -> dict[str, Any] | BadData:
    row = jsonl.row_of(written.encode("utf-8", "surrogatepass"), name, number)
    if isinstance(row, BadData) and "not an object" in row.message:
        return _no_object(msgspec.json.decode(written), f"{name}:{number}")
    return row


def _no_object(item: Any, place: str) -> BadData:
    kind = "a list" if isinstance(item, list) else "a single value"
    return BadData(f"{place}: is {kind}, not an object.", hint=_LIST)


class _TooLong(Exception):
    """A value longer than a row may be."""


class _Stream:
    """The text of a document, of which only the unread part is kept."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name
        self.text = ""
        self.at = 0
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()

    def fault(self, number: int, message: str) -> BadData:
        return BadData(f"{self.name}:{number}: {message}.", hint="Write one JSON array of objects.")

    def more(self) -> bool:
        """Read the next chunk. Return False at the end of the file."""
        chunk = self.file.read(CHUNK)
        try:
            read = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise _text.not_utf8(error.object, self.name, self.name) from error
        self.text = self.text[self.at :] + read
        self.at = 0
        return bool(chunk)

    def peek(self) -> str:
        """Return the next non-space character without consuming it; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def peek_within(self) -> str:
        """Return the first non-space character after the bracket that is next."""
        while True:
            inside = self.text[self.at + 1 : self.at + CHUNK].lstrip(_SPACE)
            if inside or not self.more():
                return inside[:1]

    def advance(self) -> None:
        """Consume the character that was peeked at."""
        self.at += 1

    def value(self, number: int, *, may_be_long: bool = False) -> str:
        """Consume and return the next value's text. Raises BadData for an invalid value, or one too long for a row."""
        if not self.peek():
            raise self.fault(number, "is missing: the file ends")
        while True:
            try:
                _, end = _decoder.raw_decode(self.text, self.at)
                start = self.at
                if end < len(self.text):
                    break
                if not self.more():  # else a number might continue in the next chunk
                    end -= start
                    break
            except RecursionError as error:
                raise self.fault(number, "is nested too deeply") from error
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > _text.MAX_BYTES:
                    if may_be_long:
                        raise _TooLong from error
                    if error.pos < len(self.text) - 100 and not error.msg.startswith("Unterminated"):
                        raise self.fault(number, f"is not JSON: {error.msg.lower()}") from error
                    raise _text.too_long(f"{self.name}:{number}", "row") from error
                if not self._until(max(CHUNK, 2 * (len(self.text) - self.at))):
                    is_within = error.pos < len(self.text)
                    message = f"is not JSON: {error.msg.lower()}" if is_within else "does not end"
                    raise self.fault(number, message) from error
        written = self.text[self.at : end]
        self.at = end
        return written

    def _until(self, size: int) -> bool:
        """Read until `size` characters are available. Return False if nothing more came."""
        before = len(self.text) - self.at
        while len(self.text) - self.at < size and self.more():
            pass
        return len(self.text) - self.at > before


PLUGIN = JsonFile()
