"""The files of a chat in its job's folder: what it is asked, what it answered, and whether somebody reads.

The supervisor appends to `asks.jsonl`, the job to `answers.jsonl`: one writer each, whole lines, so that either may be
killed at any moment and the next one continues. Each read of the answers touches `present`.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import NotFound
from finetop.core.features.chat.messages import ChatLine, ChatSettings, ChatSide
from finetop.core.models import checkpoint
from finetop.core.runtime.files import open_own, open_regular
from finetop.core.text import well_formed

ASKS, ANSWERS, PRESENT = "asks.jsonl", "answers.jsonl", "present"
ABSENT_S = 600.0  # without a reader, after which a chat ends by itself
PIECE_S = 0.05  # between two pieces of an answer: twenty a second cost about 2 kB/s over a link
READ_BYTES = 256 << 10  # of answers, at once
LOOK_S = 0.03  # between two looks at a file that somebody waits for


class Prompt(msgspec.Struct, tag="prompt", frozen=True, omit_defaults=True):
    """A prompt to answer."""

    number: int
    text: str
    settings: ChatSettings = ChatSettings()
    fresh: bool = False
    sides: list[int] = []  # empty: all


class StopLine(msgspec.Struct, tag="stop", frozen=True, omit_defaults=True):
    """End the answers to all prompts before this line."""

    side: int | None = None  # None: all sides


class MakeRoom(msgspec.Struct, tag="make-room", frozen=True):
    """Announce that the chat ends for another job, or with 0 that it does not."""

    text: str
    ends_at: float = 0.0


class Keep(msgspec.Struct, tag="keep", frozen=True):
    """Report an answer as one of the run's samples."""

    step: int
    number: int  # of the prompt
    prompt: str
    text: str


AskLine = Prompt | StopLine | MakeRoom | Keep


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the job finds a side's model."""

    folder: str = ""  # of a run, below the home: runs/0007-name
    checkpoint: str = ""  # below that
    is_adapter: bool = False  # with the base inside, which can be switched to
    candidate: dict[str, Any] | None = None  # how a remedy's model is made of it
    follows: bool = False  # no step was named: another one of the run does, should this one be removed
    stamp: str = ""  # of its weight files when the chat was queued: other weights are another model


@dataclass(frozen=True)
class Side:
    """A side as the job's args have it: one mapping of both."""

    side: ChatSide
    place: Place = field(default_factory=Place)

    @property
    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        mapping: dict[str, Any] = {**msgspec.to_builtins(self.side), **msgspec.to_builtins(self.place)}
        return mapping


_ask_lines: msgspec.json.Decoder[AskLine] = msgspec.json.Decoder(AskLine)
_chat_lines = msgspec.json.Decoder(ChatLine)


def require_checkpoint(home: Path, side: Side) -> None:
    """Raise NotFound if a side's checkpoint has lost its files: that is found before anything is loaded."""
    folder = home / side.place.folder / side.place.checkpoint
    if side.place.checkpoint and (fault := checkpoint.why_unusable(folder)):
        name = f"step {side.side.step:,} of {side.side.run}" if side.side.step else side.side.label
        raise NotFound(f"the checkpoint {name} can't be used: {fault}.", hint="Pick another checkpoint.")


def sides_of(args: dict[str, Any]) -> list[Side]:
    """Read the sides of a chat from its job's args. Raises msgspec.ValidationError."""
    mappings = msgspec.convert(args.get("sides"), list[dict[str, Any]])
    return [Side(msgspec.convert(own, ChatSide), msgspec.convert(own, Place)) for own in mappings]


# --- asks -----------------------------------------------------------------------------------------------------


def append_ask(folder: Path, line: AskLine) -> None:
    """Append a line to a chat's asks. Raises OSError."""
    _append(folder / ASKS, line)


def read_asks(folder: Path, offset: int = 0) -> tuple[list[AskLine], int]:
    """Return the asks from a byte offset, and the next offset; what is no whole line stays for the next time."""
    content, _ = _read(folder / ASKS, offset, None)
    lines, used = _whole_lines(content)
    return [ask for line in lines if (ask := _decoded(_ask_lines, line)) is not None], offset + used


# --- answers --------------------------------------------------------------------------------------------------


def all_answers(folder: Path) -> list[ChatLine]:
    """Return the whole transcript."""
    lines, offset = read_answers(folder, 0)
    whole = list(lines)
    while lines:
        lines, offset = read_answers(folder, offset)
        whole += lines
    return whole


def read_answers(folder: Path, offset: int) -> tuple[list[ChatLine], int]:
    """Return the transcript from a byte offset, and the next offset; pieces in a row of one answer become one."""
    content, size = _read(folder / ANSWERS, offset, READ_BYTES)
    lines, used = _whole_lines(content)
    merged: list[ChatLine] = []
    for line in lines:
        entry = _decoded(_chat_lines, line)
        if entry is None:
            continue
        last = merged[-1] if merged else entry
        is_same = (entry.kind, entry.side, entry.number) == (last.kind, last.side, last.number)
        if merged and entry.kind == "text" and is_same:
            merged[-1] = msgspec.structs.replace(last, text=last.text + entry.text)
        else:
            merged.append(entry)
    return merged, min(offset, size) + used


def wait_for_answers(folder: Path, offset: int, wait_s: float) -> tuple[list[ChatLine], int]:
    """Read the transcript, waiting in this thread for something new."""
    until = time.monotonic() + wait_s
    while True:
        lines, following = read_answers(folder, offset)
        if lines or following != offset or time.monotonic() >= until:
            return lines, following
        time.sleep(LOOK_S)


class Transcript:
    """The job's end of the transcript: whole lines from several threads, pieces of an answer gathered for PIECE_S."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / ANSWERS
        self._turn = threading.RLock()
        self._pieces: dict[tuple[int, int], Pieces] = {}

    def write(self, line: ChatLine) -> None:
        """Append a line, after the gathered pieces of its answer. Raises OSError."""
        with self._turn:
            answer = (line.side, line.number)
            if (pieces := self._pieces.pop(answer, None)) is not None and pieces.text:
                self._write_pieces(answer, pieces, 0.0)
            _append(self._file, msgspec.structs.replace(line, text=well_formed(line.text)))

    def tell(self, side: int, text: str) -> None:
        """Append what a side's reader must know. Raises OSError."""
        self.write(ChatLine("notice", now_rounded(), side=side, text=text))

    def piece(self, side: int, number: int, text: str) -> None:
        """Take a piece of an answer. Raises OSError."""
        if not text:
            return
        with self._turn:
            pieces = self._pieces.setdefault((side, number), Pieces())
            pieces.text += text
        self.flush()

    def flush(self) -> None:
        """Write the pieces whose time has come. Raises OSError."""
        with self._turn:
            now = time.monotonic()
            for answer, pieces in list(self._pieces.items()):
                if pieces.text and now - pieces.written_at >= PIECE_S:
                    self._write_pieces(answer, pieces, now)

    def _write_pieces(self, answer: tuple[int, int], pieces: Pieces, now: float) -> None:
        side, number = answer
        is_half = bool(now) and "\ud800" <= pieces.text[-1] <= "\udbff"  # the other half may be on its way
        text, rest = (pieces.text[:-1], pieces.text[-1]) if is_half else (pieces.text, "")
        if text:
            line = ChatLine("text", now_rounded(), side=side, number=number, text=well_formed(text))
            _append(self._file, line)
        pieces.text, pieces.written_at = rest, now


@dataclass
class Pieces:
    """What was generated of an answer and not written yet."""

    text: str = ""
    written_at: float = field(default=-PIECE_S)


def now_rounded() -> float:
    """Return the time in hundredths: a line is sent often."""
    return round(time.time(), 2)


# --- presence -------------------------------------------------------------------------------------------------


def touch(folder: Path) -> None:
    """Record that somebody reads. Raises OSError."""
    descriptor = open_own(folder / PRESENT, os.O_WRONLY | os.O_CREAT)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class Presence:
    """How long nobody has read: by this process's clock, which nobody sets."""

    folder: Path
    seen: int = 0
    since: float = field(default_factory=lambda: time.monotonic())

    def absent_s(self) -> float:
        """Return for how many seconds nobody has read."""
        try:
            touched = (self.folder / PRESENT).lstat().st_mtime_ns
        except OSError:
            touched = 0
        now = time.monotonic()
        if touched != self.seen:
            self.seen, self.since = touched, now
        return now - self.since


# --- lines of a file ------------------------------------------------------------------------------------------


def _append(file: Path, line: AskLine | ChatLine) -> None:
    """Append one line in one write, behind a newline if a crash cut the last one."""
    descriptor = open_own(file, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        content = (b"\n" if is_torn else b"") + msgspec.json.encode(line) + b"\n"
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, "no space left on device", str(file))
    finally:
        os.close(descriptor)


def _read(file: Path, offset: int, most: int | None) -> tuple[bytes, int]:
    """Return what a file holds behind an offset, and its size; empty if it is missing."""
    try:
        with open_regular(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            if offset >= size:
                return b"", size
            opened.seek(offset)
            content = opened.read(-1 if most is None else most)
            if most is not None and len(content) == most and b"\n" not in content:
                content += opened.readline()  # one long line: a prompt
            return content, size
    except OSError:
        return b"", 0


def _whole_lines(content: bytes) -> tuple[Sequence[bytes], int]:
    """Return the complete lines of some content, and their bytes."""
    used = content.rfind(b"\n") + 1
    return content[:used].splitlines(), used


def _decoded(decoder: Any, line: bytes) -> Any:
    try:
        return decoder.decode(line) if line else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # cut by a crash, or damaged by hand
