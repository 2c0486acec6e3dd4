"""Target against retained: a letter where each remedy lies, the limit as an upright line. Right and up is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.wording import remedies
from finetop.tui.line import rule
from finetop.tui.screens.remedies.row import bar_style
from finetop.tui.widgets.scatter import Spot, scatter

if TYPE_CHECKING:
    from finetop.core.protocol.messages.remedies import RemediesAnswer
    from finetop.tui.line import Line


def picture_lines(found: RemediesAnswer, *, width: int, height: int) -> list[Line]:
    """Draw the picture in `height` rows, its rule included; without two points say what there will be."""
    metric = found.metric.replace("_", " ") or "target"
    title = rule(((f"{metric} against retained", ""),), width, (("better is up and to the right ", "dim"),))
    points = _spots(found)
    if height < 5 or not points:
        return [title][: max(0, height)]
    lower = found.metric in LOWER_IS_BETTER
    drawn = scatter(
        points,
        width=width,
        height=height - 1,
        limit=-found.margin,
        x_words=lambda x: f"{x:.0f}" if round(x) else "0",
        y_words=lambda y: f"{-y if lower else y:.2f}",
        x_name="retained",
    )
    return [title, *drawn]


def _spots(found: RemediesAnswer) -> list[Spot]:
    """Give what has both numbers: upwards is better, also where less is."""
    sign = -1.0 if found.metric in LOWER_IS_BETTER else 1.0
    spots = [
        Spot(f"{remedies.star(found, row)}{letter}", -row.drop, sign * reached, bar_style(row))
        for letter, row in remedies.lettered(found.rows)
        if row.drop is not None and (reached := row.target.get(found.metric)) is not None
    ]
    now = found.now
    if now is not None and now.drop is not None and found.metric in now.target:
        spots.append(Spot("now", -now.drop, sign * now.target[found.metric]))
    if found.metric in found.base:
        spots.append(Spot("base", 0.0, sign * found.base[found.metric]))
    return spots
