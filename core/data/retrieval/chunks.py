"""Cuts documents into chunks: whole paragraphs if they fit, under their title and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from finetop.core.data.retrieval.documents import Document
from finetop.core.data.retrieval.file_types import UNSPACED

TITLE_WORDS = 12  # a first line of at most this many is taken as the title
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]{{1,100}}")

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
# Below a heading (in reStructuredText also above it), or alone.
_RULE = re.compile(r"([=\-~^\"'*+#_])\1{2,}\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that is found and put before a question as a unit."""

    text: str  # searched and shown: title and headings, then the piece itself
    source: str  # manuals/tent.md
    place: str  # manuals/tent.md:17
    title: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A paragraph, or a part of one that fits; never cut again."""

    line: int
    text: str
    words: int
    section: tuple[str, ...]  # its headings, outermost first
    opens: bool = False  # it is a heading itself


def cut(document: Document, chunk_words: int, overlap_words: int) -> Iterator[Chunk]:
    """Cut a document into chunks of at most `chunk_words` words, not counting title and headings.

    A chunk that begins within a section repeats the last `overlap_words` words of the previous one.
    """
    title, pieces = _pieces(document, chunk_words)
    held: list[_Piece] = []
    words = 0
    for piece in pieces:
        if held and words + piece.words > chunk_words:
            end = len(held)
            while end and held[end - 1].opens:
                end -= 1  # a heading stays with the text after it
            end = end or len(held)
            yield _chunk(document, title, held[:end])
            goes_on = not piece.opens and end == len(held) and piece.section == held[-1].section
            room = min(overlap_words, chunk_words - piece.words) if goes_on else 0
            held = _tail(held, room) if end == len(held) else held[end:]
            words = sum(held_piece.words for held_piece in held)
        held.append(piece)
        words += piece.words
    if held:
        yield _chunk(document, title, held)


def count(text: str) -> int:
    """Count words; in scripts without spaces, characters."""
    return sum(1 for _ in WORD.finditer(text))


def _chunk(document: Document, title: str, held: list[_Piece]) -> Chunk:
    above = list(held[0].section[:-1] if held[0].opens else held[0].section)
    if title and title not in above:
        above.insert(0, title)
    text = "\n".join(([" > ".join(above)] if above else []) + [piece.text for piece in held])
    line = document.line if document.is_row else held[0].line
    return Chunk(text, document.source, f"{document.source}:{line}", title)


def _tail(held: list[_Piece], room: int) -> list[_Piece]:
    """Return the last words of a chunk: whole pieces, or the end of the last one."""
    kept: list[_Piece] = []
    for piece in reversed(held):
        if piece.opens or piece.words > room:
            break
        kept.insert(0, piece)
        room -= piece.words
    return kept or [*_end_of(held[-1], room)]


def _end_of(piece: _Piece, room: int) -> Iterator[_Piece]:
    """Yield as many sentences from a piece's end as fit, or the last words of its last sentence."""
    text = ""
    for sentence in reversed(_SENTENCE.split(piece.text)):
        longer = f"{sentence} {text}".strip()
        if count(longer) > room:
            break
        text = longer
    if not text and room > 0:
        text = piece.text[[match.start() for match in WORD.finditer(piece.text)][-room:][0] :]
    if text and not piece.opens:
        yield _Piece(piece.line, text, count(text), piece.section)


def _pieces(document: Document, most: int) -> tuple[str, list[_Piece]]:
    """Split a document into pieces, and find its title: its own, a first heading or short line, or the file's name."""
    title = document.title
    below: list[tuple[int, str]] = []
    pieces: list[_Piece] = []
    paragraph: list[str] = []
    in_code = False
    lines = [line.rstrip() for line in document.text.split("\n")]

    def end(number: int) -> None:
        if paragraph:
            begun = document.line + number - len(paragraph)
            pieces.extend(_fitting(paragraph, begun, most, tuple(text for _, text in below)))
            paragraph.clear()

    for number, line in enumerate(lines):
        if _FENCE.match(line):
            in_code = not in_code
        heading = None if in_code else _heading(line, lines[number + 1] if number + 1 < len(lines) else "")
        if heading is not None:
            end(number)
            level, text = heading
            below = [*(above for above in below if above[0] < level), heading]
            title = title or text
            if text != title:
                section = tuple(above for _, above in below)
                parts = _fitting([text], document.line + number, most, section)
                pieces.extend(replace(part, opens=True) for part in parts)
        elif not line or (_RULE.match(line) and not in_code):
            end(number)
        elif not (title or pieces or paragraph) and len(lines) > 1 and _is_title(line):
            title = line.strip()
        else:
            paragraph.append(line)
    end(len(lines))
    if not pieces and title and not document.title:  # the title is the whole text
        return document.named, [*_fitting([title], document.line, most, ())]
    return title or document.named, pieces


def _heading(line: str, following: str) -> tuple[int, str] | None:
    """Return a heading and its level: `## Features`, or a line with a rule below it."""
    if match := _HEADING.match(line):
        return len(match[1]), match[2]
    rule = _RULE.match(following)
    if line and rule and not line[0].isspace() and not _RULE.match(line) and count(line) <= TITLE_WORDS:
        return 1 if rule[1] in "=#" else 2, line
    return None


def _is_title(line: str) -> bool:
    return count(line) <= TITLE_WORDS and line[0].isalnum() and line[-1] not in ".,;:!?"


def _fitting(lines: list[str], begun: int, most: int, section: tuple[str, ...]) -> Iterator[_Piece]:
    """Yield a paragraph whole if it fits, else its lines, their sentences, or groups of words."""
    if (words := count("\n".join(lines))) <= most:
        yield _Piece(begun, "\n".join(lines), words, section)
        return
    for place, line in enumerate(lines, start=begun):
        for sentence in [line] if count(line) <= most else _SENTENCE.split(line):
            starts = [match.start() for match in WORD.finditer(sentence)]
            for first in range(0, len(starts), most):
                after = first + most
                text = sentence[starts[first] : starts[after] if after < len(starts) else None].rstrip()
                yield _Piece(place, text, min(most, len(starts) - first), section)
