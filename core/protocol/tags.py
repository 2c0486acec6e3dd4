"""Tags and notes of runs as typed in the app and with `finetop tag`: `+keep -draft "compare with r8"`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetop.core.errors import BadInput
from finetop.core.protocol.runs import RunRow
from finetop.core.text import clean_line

LONGEST_NOTE = 2000  # characters
MOST = 20  # tags per run
SWEEP = "sweep/"  # prefix of a sweep's name in the tags of its runs
APPROACHES = "approaches/"  # prefix of a comparison's name
SEEN = "seen"  # on a failed or lost run: it needs no attention until it runs again
_TAG = re.compile(r"[\w][\w.:/@-]{0,39}")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass(frozen=True, slots=True)
class Noted:
    """Requested changes: tags to add, tags to remove, and the note; None leaves it unchanged."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    note: str | None = None


def read_noted(text: str) -> Noted:
    """Parse a line: `+a` or `a` adds a tag, `-b` removes one, a quoted text is the note. Raises BadInput."""
    tags: list[str] = []
    note = None
    for match in _WORD.finditer(text):
        if match[1] is None:
            tags.append(match[2])
        elif note is not None:
            raise BadInput("a run has one note: put all of it into one pair of quotes.")
        else:
            note = require_note(re.sub(r'\\(["\\])', r"\1", match[1]))
    add, drop = read_tags(tags)
    return Noted(add, drop, note)


def read_tags(typed: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Parse tags to add (`+a`, `a`) and to remove (`-b`). Raises BadInput."""
    add: list[str] = []
    drop: list[str] = []
    for word in typed:
        tag = word[1:] if word[:1] in ("+", "-") else word
        if '"' in word:
            raise BadInput(f"{word[:40]}: the quote is not closed.", hint='Put a note between two ".')
        (drop if word.startswith("-") else add).append(require_tag(tag, word))
    if both := set(add) & set(drop):
        raise BadInput(f"{min(both)} can't be both added and removed.")
    return tuple(dict.fromkeys(add)), tuple(dict.fromkeys(drop))


def require_tag(tag: str, word: str = "") -> str:
    """Return a tag if it is valid. Raises BadInput."""
    if not _TAG.fullmatch(tag):
        hint = "1 to 40 letters, digits, . _ : / @ or -, with + or - before it: +keep -draft."
        raise BadInput(f"{(word or tag)[:60]!r} is not a tag.", hint=hint)
    return tag


def require_note(text: str) -> str:
    """Return a note as one clean line. Raises BadInput."""
    note = clean_line(text, limit=4 * LONGEST_NOTE).strip()
    if len(note) > LONGEST_NOTE:
        raise BadInput(f"the note has {len(note):,} characters; the limit is {LONGEST_NOTE:,}.")
    return note


def sweep_of(run: RunRow) -> str:
    """Return the newest sweep of a run, with its machine if several are shown; '' for none."""
    return _behind(run, SWEEP)


def comparison_of(run: RunRow) -> str:
    """Return the newest comparison of approaches of a run, as `sweep_of` does."""
    return _behind(run, APPROACHES)


def _behind(run: RunRow, tag: str) -> str:
    names = [text.removeprefix(tag) for text in run.tags if text.startswith(tag)]
    if not names:
        return ""
    return f"{run.host}:{names[-1]}" if run.host else names[-1]


BY = "select.by"
ROWS = "rows"
CONTROL = "random"  # the selector that is the baseline for every other
ALL = "all"  # in place of a selector: all rows, the end point of each curve
