"""Target against what is retained: a letter where each approach lies, the limit as an upright line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line
from finetop.tui.screens.approaches.row import letter_of
from finetop.tui.widgets.scatter import Spot, scatter

if TYPE_CHECKING:
    from finetop.core.protocol.messages.approaches import ApproachesAnswer, ApproachRow
    from finetop.tui.line import Line
    from finetop.tui.theme import StyleName

LEAST = 4  # rows


def picture_lines(
    found: ApproachesAnswer, chosen: ApproachRow | None, *, width: int, height: int
) -> list[Line]:
    """Draw the picture in `height` rows; what has no place in it is said."""
    sign = -1.0 if found.lower_is_better else 1.0
    spots: list[Spot] = []
    absent: list[str] = []
    for index, row in enumerate(found.rows):
        if row.target is None:
            continue
        if row.retained is None or row.retained.drop is None:
            absent.append(letter_of(found, index))
            continue
        spots.append(
            Spot(
                letter_of(found, index),
                -row.retained.drop,
                sign * row.target.mean,
                "reverse" if row is chosen else _style(row),
            )
        )
    if len(spots) < 2 or height < LEAST:
        return [((" A picture needs two approaches that are measured and checked.", "dim"),)]
    rows = height - 1 if absent else height
    kept = [row.retained for row in found.rows if row.retained is not None]
    drawn = scatter(
        spots,
        width=width,
        height=rows,
        limit=next((-one.margin for one in kept if one.margin is not None), None),
        x_words=lambda x: f"{x:+.1f}" if round(x, 1) else "0.0",
        y_words=lambda y: f"{sign * y:.2f}",
        x_name="retained",
    )
    if absent:
        drawn.append(((f" Not in it, as it was not checked: {', '.join(absent)}", "dim"),))
    return drawn


def title_of(found: ApproachesAnswer) -> str:
    """Name the picture."""
    return f"{clean_line(found.metric).replace('_', ' ')} against retained"


def _style(row: ApproachRow) -> StyleName:
    assert row.retained is not None
    if "regressed" in row.retained.verdicts:
        return "red"
    return "bold" if row.is_best else ""
