"""Where another program's numbers are read from, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.numbers_from import MOST_SETTINGS
from finetop.core.text import clean_line, counted, listed, number_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.protocol.numbers_from import NumbersFrom

MOST_NAMED = 8  # metrics of a file
MOST_SHOWN = 12  # settings of a line


def brief(numbers: NumbersFrom, metric: str) -> str:
    """Return where the main metric and the others are read from, and how many files were left out."""
    taken = [file for file in numbers.read if file.metrics]
    first = next((file.source for file in taken if metric in file.metrics), "")
    others = sorted({file.source for file in taken} - {first})
    words = []
    if first:
        words.append(f"{metric} from {first}" if others else f"numbers from {first}")
    if others:
        words.append(f"{'others' if first else 'numbers'} from {', '.join(others)}")
    if files := sum(one.files for one in numbers.left_out):
        words.append(f"{counted(files, 'file')} left out")
    return ", ".join(words)


def read_lines(numbers: NumbersFrom) -> Iterator[str]:
    """Yield a line for each file that numbers are read from, and why it is believed."""
    for file in numbers.read:
        parts = [_named(file.metrics)] if file.metrics else []
        if file.also:
            parts.append(f"also {_named(file.also)}, taken from a better source")
        if file.settings:
            is_full = file.settings >= MOST_SETTINGS
            parts.append(counted(file.settings, "setting") + (", no more are kept" if is_full else ""))
        yield clean_line(f"{'; '.join(parts)}: {file.source} {file.file} ({file.why})")


def settings_line(numbers: NumbersFrom) -> str:
    """Return the first settings of the program's configuration; empty if none is known."""
    shown = [
        f"{name} {value if isinstance(value, str) else number_words(value)}"
        for name, value in numbers.settings.items()
    ]
    more = len(shown) - MOST_SHOWN
    return clean_line(", ".join(shown[:MOST_SHOWN]) + (f", {more} more" if more > 0 else ""))


def left_out_lines(numbers: NumbersFrom) -> Iterator[str]:
    """Yield a line for each group of files that was left out, and why."""
    for one in numbers.left_out:
        files = "" if one.files == 1 else f" ({counted(one.files, 'file')})"
        yield clean_line(f"{one.source} {one.file}{files}: {one.why}")


def _named(metrics: Sequence[str]) -> str:
    if len(metrics) <= MOST_NAMED:
        return listed(metrics)
    return listed([*metrics[: MOST_NAMED - 1], f"{len(metrics) - MOST_NAMED + 1} more"])
