"""The Approaches screen by its keys: footer, texts, hostile texts, and snapshots."""

from __future__ import annotations

from typing import Any

import pytest
from approach_fakes import ComparingSupervisor, answer, meanwhile, measured, measured_rows
from msgspec.structs import replace
from tui_fakes import HOSTILE, is_clean, make_app, pressed, row_with, settled, shown_app, text_of, typed

from finetop.core.features.approaches.messages import Advice
from finetop.tui.screens.approaches.screen import ApproachesScreen
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen

FOUND = {"measured": measured, "meanwhile": meanwhile}


async def opened(pilot: Any) -> None:
    """Open the comparison of the run under the cursor of Runs."""
    await settled(pilot)
    await pressed(pilot, "a", within_s=0.3)


async def test_v_turns_to_the_prices_and_tab_to_what_is_below() -> None:
    async with shown_app(make_app(ComparingSupervisor(measured()))) as (app, pilot):
        await opened(pilot)
        assert isinstance(app.screen, ApproachesScreen)
        await pressed(pilot, "pagedown")
        assert "what would change this" in text_of(app)
        await pressed(pilot, "v")
        prices = "9.1 min 0.52 [0.47, 0.57]! 31 tok 1.9 GiB 0.10 to 0.31"
        assert row_with(app, "c full").split()[2:] == prices.split()
        assert "v scores" in text_of(app) and "CPU s a query" in text_of(app)
        assert "! measured on a busy machine" in text_of(app)
        await pressed(pilot, "tab")
        assert "token f1 against retained" in text_of(app) and "limit -3.0" in text_of(app)
        await pressed(pilot, "tab")
        assert "runs of retrieval-lora" in text_of(app)
        await pressed(pilot, "tab", "c")
        assert isinstance(app.screen, CompareScreen) and len(app.screen.state.names) == 5
        assert app.screen.state.names[:2] == ["kb-retrieval-lora-s1", "kb-retrieval-s1"]
        await typed(pilot, "escape", "right")  # enter opens the chosen run
        assert row_with(app, "kb-retrieval-lora-s2").startswith("▸✓")
        await pressed(pilot, "enter")
        assert isinstance(app.screen, RunScreen) and app.screen.run == "kb-retrieval-lora-s2"
        await pressed(pilot, "escape")
        await pressed(pilot, "escape")
        assert isinstance(app.screen, RunsScreen)


async def test_what_still_runs_is_said_and_the_cursor_stays_on_its_approach() -> None:
    fake = ComparingSupervisor(meanwhile())
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        # a failed approach leads to the run that failed, and to trying it again
        names = [row.name for row in meanwhile().rows]
        await pressed(pilot, *["j"] * names.index("full"))
        assert "why it failed; T there retries it" in text_of(app)
        failed = next(run.name for run in meanwhile().rows[names.index("full")].runs if run.message)
        await pressed(pilot, "enter")
        assert isinstance(app.screen, RunScreen) and app.screen.run == failed
        await typed(pilot, "escape", "g")
        fake.found = measured()
        fake.change()
        await settled(pilot, 0.3)
        assert row_with(app, "b retrieval").startswith("▸")
        await pressed(pilot, "G", "enter")
        assert "qlora has no run." in text_of(app)
        await pressed(pilot, "right_square_bracket", within_s=0.3)
        assert "Approaches older" in text_of(app)


async def test_without_a_comparison_it_says_how_to_make_one() -> None:
    async with shown_app(make_app(ComparingSupervisor(None))) as (app, pilot):
        await opened(pilot)
        assert "No comparisons yet." in text_of(app)
        assert "finetop approaches RECIPE" in text_of(app)


@pytest.mark.parametrize(
    "size", [(60, 20), pytest.param((120, 40), marks=pytest.mark.slow)], ids=["60x20", "120x40"]
)
async def test_hostile_words_draw_nothing_of_their_own(size: tuple[int, int]) -> None:
    rows = [
        replace(
            row,
            name=HOSTILE,
            about=HOSTILE,
            message=HOSTILE,
            runs=[replace(run, name=HOSTILE) for run in row.runs],
        )
        for row in measured_rows()
    ]
    rows.append(replace(rows[0], state="failed", target=None))
    comparison = replace(
        answer(rows, [Advice(HOSTILE, HOSTILE)], 1, 1), metric=HOSTILE, model=HOSTILE, target=HOSTILE
    )
    async with shown_app(make_app(ComparingSupervisor(comparison)), size) as (app, pilot):
        await opened(pilot)
        for key in ("j", "v", "tab", "tab", "right", "G", "enter"):
            await pressed(pilot, key)
            assert is_clean(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("state", ["measured", "meanwhile"])
def test_picture(pictured: Any, size: tuple[int, int], state: str) -> None:
    assert pictured(make_app(ComparingSupervisor(FOUND[state]())), size, "a", "j")
