"""The marked runs' curves in one chart, in the pane of the list."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tui_fakes import NOW, FakeSupervisor, make_app, make_row, pressed, shown_app, text_of

from finetop.core.protocol.messages.runs import Curve, Curves, CurvesAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Finished
from finetop.tui.screens.runs.overlay import mean_of

BRAILLE = re.compile("[\u2801-\u28ff]")


class Curved(FakeSupervisor):
    """Each run's loss is derived from its number."""

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, Curves) and ask.columns > 20:
            self.asked.append(ask)
            at = next(row.id for row in self.rows if row.name == ask.run)
            values = [1.0 + at / 10] * ask.columns
            curve = Curve("loss", list(range(ask.columns)), values, values, values, 1200, values[-1], 0)
            return CurvesAnswer([curve])
        return await super().ask(ask)


def runs() -> Curved:
    done, facts = Finished(NOW - 5000, NOW - 4000), {"metrics": {"loss": 1.0}}
    methods = enumerate(("lora", "lora", "full", "full"), 1)
    return Curved([make_row(at, f"run-{at}", done, method=method, **facts) for at, method in methods])


async def test_marked_runs_are_drawn_at_once_each_with_its_letter_and_of_groups_the_mean() -> None:
    fake = runs()
    async with shown_app(make_app(fake)) as (app, pilot):
        for size in ((80, 24), (200, 50), (120, 40)):
            await pilot.resize_terminal(*size)
            await pressed(pilot, "g", "space", within_s=0.1)
            assert "── run-" in text_of(app), "one alone is shown as before"
            await pressed(pilot, "space", "space", within_s=0.2)
            assert "loss  A run-1  B run-2  C run-3 " in text_of(app)
            for words in ("A 1.100", "B 1.200", "C 1.300"):
                assert words in text_of(app)
            await pressed(pilot, "escape", within_s=0.1)
            assert "A 1.100" not in text_of(app)
        await pressed(pilot, "slash", *"group:method", "enter", within_s=0.2)
        await pressed(pilot, "g", *["space"] * 3, within_s=0.2)
        assert "A full (2 runs)  B lora (1 run)" in text_of(app)
        assert "A 1.350" in text_of(app) and "⢕" in text_of(app)


def test_a_mean_has_one_standard_deviation_as_its_band() -> None:
    def curve(columns: list[int], values: list[float]) -> Curve:
        return Curve("loss", columns, values, values, values, 10, values[-1], 0)

    mean = mean_of("loss", [curve([0, 1], [1.0, 2.0]), curve([0], [3.0])])
    assert (mean.column, mean.mean) == ([0, 1], [2.0, 2.0])
    assert mean.low[0] == pytest.approx(2 - 2**0.5) and mean.high[1] == 2.0


async def test_each_run_is_drawn_over_its_own_axis_on_the_way_back_too() -> None:
    fake = runs()
    fake.rows = [
        make_row(1, "short", Finished(NOW - 5000, NOW - 4000), step=300, steps=300, metrics={"loss": 1.0}),
        make_row(2, "long", Finished(NOW - 5000, NOW - 4000), step=1200, steps=1200, metrics={"loss": 1.0}),
    ]
    async with shown_app(make_app(fake), size=(200, 50)) as (app, pilot):
        for keys, end in ((("g",), "300"), (("j",), "1,200"), (("k",), "300")):
            await pressed(pilot, *keys, within_s=0.3)
            axis = next(line for line in text_of(app).splitlines() if " step 0 " in line)
            assert axis.rstrip(" │").endswith(end), axis
            curve = max(text_of(app).splitlines(), key=lambda line: len(BRAILLE.findall(line)))
            assert BRAILLE.fullmatch(curve.rstrip(" │")[-1]), "the curve reaches the end of its axis"
