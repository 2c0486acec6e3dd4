"""A prompt being typed: what each key does to it and to the chat, and how its lines are drawn."""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len

from finetop.core.text import clean
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.text import Line
from finetop.tui.widgets import entry as one_line
from finetop.tui.widgets.entry import Entry

LIMIT = 100_000  # characters; a longer paste is cut


def press(state: ChatState, key: str, character: str | None) -> str:
    """Change the state as a key says; return a message for the user, or an empty string."""
    match key:
        case "enter":
            return "" if state.to_send() is not None else "nothing to send: type a prompt first."
        case (
            "escape"
        ):  # leave the line to the other keys; a prompt stays on it, a reference answer is dropped
            state.is_typing = False
            if state.keeping is not None:
                state.keeping, state.entry = None, Entry()
        case "up" | "down":
            return _up_or_down(state, -1 if key == "up" else 1)
        case _:
            state.entry = typed(state.entry, key, character) or state.entry
    return ""


def _up_or_down(state: ChatState, by: int) -> str:
    """Move to another line of the text, else to an earlier or later prompt."""
    entry = moved(state.entry, by)
    if entry is not None:
        state.entry = entry
    elif state.keeping is None and not state.recall(by):
        return "no earlier prompt." if by < 0 else "no later prompt."
    return ""


def typed(entry: Entry, key: str, character: str | None) -> Entry | None:
    """Return the entry after a key; None if the key does not edit."""
    text, at = entry.text, entry.at
    start, end = _line_around(entry)
    match key:
        case "ctrl+j":
            return inserted(entry, "\n")
        case "home":
            return replace(entry, at=start)
        case "end":
            return replace(entry, at=end)
        case "ctrl+u":
            return Entry(text[:start] + text[at:], start)
        case "ctrl+k":
            return Entry(text[:at] + text[end:], at)
    if character is not None and character.isprintable():
        return inserted(entry, character)
    return one_line.typed(entry, key, None)


def inserted(entry: Entry, text: str) -> Entry:
    """Return the entry after text was typed or pasted at the cursor; lines stay, control sequences go."""
    shown = clean(text.replace("\t", "    "), limit=LIMIT)[: max(0, LIMIT - len(entry.text))]
    return Entry(entry.text[: entry.at] + shown + entry.text[entry.at :], entry.at + len(shown))


def moved(entry: Entry, by: int) -> Entry | None:
    """Return the entry with its cursor a line up (-1) or down (1); None if there is no such line."""
    start, end = _line_around(entry)
    column = entry.at - start
    if by < 0:
        if not start:
            return None
        above = entry.text.rfind("\n", 0, start - 1) + 1
        return replace(entry, at=min(above + column, start - 1))
    if end == len(entry.text):
        return None
    below = entry.text.find("\n", end + 1)
    return replace(entry, at=min(end + 1 + column, len(entry.text) if below < 0 else below))


def _line_around(entry: Entry) -> tuple[int, int]:
    """Return where the cursor's line starts and ends."""
    end = entry.text.find("\n", entry.at)
    return entry.text.rfind("\n", 0, entry.at) + 1, len(entry.text) if end < 0 else end


def drawn(entry: Entry, width: int, rows: int, *, has_cursor: bool = True) -> list[Line]:
    """Draw the entry in at most `rows` rows of `width` cells, those around its cursor, which is in reverse."""
    spans = _rows_of(entry.text, max(2, width - 1))
    at = max(index for index, (start, _) in enumerate(spans) if start <= entry.at)
    first = min(max(0, at - rows + 1), max(0, len(spans) - rows))
    lines: list[Line] = []
    for index, (start, end) in enumerate(spans[first : first + rows], first):
        if index == at and has_cursor:
            under = entry.text[entry.at : entry.at + 1].replace("\n", " ") or " "
            behind = entry.text[entry.at + 1 : max(end, entry.at + 1)].rstrip("\n")
            lines.append(((entry.text[start : entry.at], ""), (under, "reverse"), (behind, "")))
        else:
            lines.append(((entry.text[start:end].rstrip("\n"), ""),))
    return lines


def _rows_of(text: str, width: int) -> list[tuple[int, int]]:
    """Return where each row of a text starts and ends: at a line's end, or behind the last blank that fits."""
    spans, start, cells, word = [], 0, 0, 0  # word: where the newest one begins
    for at, letter in enumerate(text):
        if letter == "\n":
            spans.append((start, at + 1))
            start, cells = at + 1, 0
            continue
        size = cell_len(letter)
        if cells + size > width:
            end = word if word > start else at
            spans.append((start, end))
            start, cells = end, cell_len(text[end:at])
        cells += size
        if letter == " ":
            word = at + 1
    return [*spans, (start, len(text))]
