"""A line of text being typed: its state, what each key does to it, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.cells import cell_len

from finetop.core.text import clean_line
from finetop.tui.text import Line

LIMIT = 2000  # characters; a longer paste is cut


@dataclass(frozen=True, slots=True)
class Entry:
    """Text and the place of the cursor in it, in characters."""

    text: str = ""
    at: int = 0


def entry_of(text: str) -> Entry:
    """Return an entry with a text and the cursor at its end."""
    return Entry(text, len(text))


def typed(entry: Entry, key: str, character: str | None) -> Entry | None:
    """Return the entry after a key; None if the key does not edit."""
    text, at = entry.text, entry.at
    match key:
        case "left":
            return replace(entry, at=max(0, at - 1))
        case "right":
            return replace(entry, at=min(len(text), at + 1))
        case "ctrl+left":
            return replace(entry, at=_word_start(text, at))
        case "ctrl+right":
            return replace(entry, at=len(text) - len(text[at:].lstrip().partition(" ")[2].lstrip()))
        case "home":
            return replace(entry, at=0)
        case "end":
            return replace(entry, at=len(text))
        case "backspace" | "ctrl+h":
            return Entry(text[: max(0, at - 1)] + text[at:], max(0, at - 1))
        case "delete":
            return Entry(text[:at] + text[at + 1 :], at)
        case "ctrl+u":
            return Entry(text[at:], 0)
        case "ctrl+k":
            return Entry(text[:at], at)
        case "ctrl+w":
            start = _word_start(text, at)
            return Entry(text[:start] + text[at:], start)
    if character is not None and character.isprintable():
        return inserted(entry, character)
    return None


def _word_start(text: str, at: int) -> int:
    return text[:at].rstrip().rfind(" ") + 1


def inserted(entry: Entry, text: str) -> Entry:
    """Return the entry after text was typed or pasted at the cursor; a paste becomes one clean line."""
    text = clean_line(text.strip("\r\n"))[: LIMIT - len(entry.text)]
    return Entry(entry.text[: entry.at] + text + entry.text[entry.at :], entry.at + len(text))


def drawn(entry: Entry, width: int) -> Line:
    """Draw the entry in `width` cells with its cursor in reverse, showing the part around the cursor."""
    start = 0
    while cell_len(entry.text[start : entry.at]) > width - 1:
        start += 1
    under = entry.text[entry.at : entry.at + 1] or " "
    before, behind = entry.text[start : entry.at], entry.text[entry.at + 1 :]
    while behind and cell_len(before + under + behind) > width:
        behind = behind[:-1]
    return ((before, ""), (under, "reverse"), (behind, ""))
