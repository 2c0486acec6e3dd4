"""CPU time to draw the chart: 120x30 cells, min, max and mean per column of 10,000 points, to the terminal's strips.

`python tests/bench/chart_cost.py [--points 10000] [--size 120x30]` prints milliseconds per picture, the median of 50.
"""

from __future__ import annotations

import math
import random
import statistics
import time

import bench

from finetop.core.protocol.messages.runs import Curve
from finetop.tui.theme import Look
from finetop.tui.widgets.chart import columns_of, draw
from finetop.tui.widgets.lines import to_strip
from finetop.tui.widgets.series import Series, View, fitted

PICTURES = 50


def noisy_curve(points: int, columns: int) -> Curve:
    """Return a falling, noisy curve, binned as the store bins it."""
    noise = random.Random(7)
    bins: list[list[float]] = [[] for _ in range(columns)]
    for at in range(points):
        bins[at * columns // points].append(1 + 2 * math.exp(-4 * at / points) + noise.gauss(0, 0.1))
    filled = [column for column, values in enumerate(bins) if values]
    return Curve(
        "loss", filled, [min(bins[column]) for column in filled], [max(bins[column]) for column in filled],
        [sum(bins[column]) / len(bins[column]) for column in filled], points, bins[filled[-1]][-1], 0,
    )  # fmt: skip


def picture_ms(curve: Curve, points: int, width: int, height: int) -> float:
    """Return the median CPU milliseconds of one picture, from curve to strips."""
    series, view, look = [Series(curve)], View(0, points), Look("16")
    times = []
    for _ in range(PICTURES):
        start = time.process_time()
        scale = fitted(None, series, view)
        for line in draw(series, width=width, height=height, view=view, scale=scale):
            to_strip(line, width, look)
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    arguments = bench.options(__doc__, points=10_000, size="120x30")
    width, height = (int(part) for part in arguments.size.split("x"))
    curve = noisy_curve(arguments.points, columns_of(width))
    cost = picture_ms(curve, arguments.points, width, height)
    print(f"{arguments.points:,} points at {arguments.size}: {cost:.1f} ms CPU a picture")


if __name__ == "__main__":
    main()
