"""Runs that share a chart: each line's letter, colour and end label."""

from __future__ import annotations

from finetop.core.protocol.messages.runs import Curve
from finetop.core.wording.metrics import shown
from finetop.tui.theme import SERIES, StyleName
from finetop.tui.widgets.series import Series

LETTERS = "ABCDEFGHI"
ENDS = 10  # cells right of the chart for each line's letter and value


def style_of(number: int) -> StyleName:
    """Return the colour of a line."""
    return SERIES[number % len(SERIES)]


def lettered(
    metric: str, number: int, curve: Curve, value: float | None, *, has_band: bool = False
) -> Series:
    """Return a curve as a series with its letter, labelled with a value at its end."""
    letter = LETTERS[number]
    end = f"{letter} {'-' if value is None else shown(metric, value)}"
    return Series(curve, end=end, letter=letter, style=style_of(number), has_band=has_band)
