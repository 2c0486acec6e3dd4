"""The Remedies screen by its keys: footer, texts, hostile texts, and snapshots of its states."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from remedy_fakes import RUN, MendingSupervisor, after, before, make_answer, make_remedy, meanwhile, tried
from tui_fakes import (
    HOSTILE,
    NOW,
    asked,
    is_clean,
    make_app,
    make_row,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.features.export.messages import Export
from finetop.core.features.remedies.messages import Remedy
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.runs import Failed, Finished
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.remedies.pane import detail_lines
from finetop.tui.screens.remedies.row import remedy_line
from finetop.tui.screens.remedies.screen import RemediesScreen
from finetop.tui.screens.remedies.state import RemediesState
from finetop.tui.screens.runs.screen import RunsScreen

FOUND = {"before": before, "meanwhile": meanwhile, "after": after}


async def opened(pilot: Any) -> None:
    """Open the remedies of the run under the cursor of Runs."""
    await settled(pilot)
    await pressed(pilot, "r", within_s=0.2)


async def test_what_is_marked_is_tried_else_the_one_under_the_cursor_or_all() -> None:
    fake = MendingSupervisor(before())
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "R")
        assert "Try the 4 available?  about 3 min" in text_of(app)
        await pressed(pilot, "escape", "j", "R")
        assert "Try 3/4 of the change, or all 4 remaining?" in text_of(app)
        assert not asked(fake, Remedy)
        await pressed(pilot, "y")
        await pressed(pilot, "space", "space", "R")
        await pressed(pilot, "R", "a")
        assert [ask.only for ask in asked(fake, Remedy)] == [
            ["interpolate-0.75"],
            ["interpolate-0.5", "interpolate-0.75"],
            ["interpolate-0.75", "interpolate-0.5", "intruders", "prune-small"],
        ]
        assert "4 remedies queued for support-full-1e-4." in text_of(app)


async def test_one_is_exported_to_where_it_is_said_and_every_metric_can_be_seen() -> None:
    fake = MendingSupervisor(after())
    async with shown_app(make_app(fake), (120, 40)) as (app, pilot):
        await opened(pilot)
        await pressed(pilot, "j", "j", "j", "E")
        target = "export half-way to the base to /nowhere/support-full-1e-4-interpolate-0.5"
        assert target in text_of(app), "the best: nothing was made of the one under the cursor"
        await pressed(pilot, "escape", "k", "E")
        assert target in text_of(app)
        await pressed(pilot, "enter")
        (export,) = asked(fake, Export)
        assert (export.run, export.step, export.remedy) == (RUN, 1200, "interpolate-0.5")
        assert export.to == "/nowhere/support-full-1e-4-interpolate-0.5"
        assert "it is verified once written" in text_of(app)
        await pressed(pilot, "E")
        await pressed(pilot, "ctrl+u", *"half", "enter")
        assert asked(fake, Export)[-1].to == "/nowhere/half", "from the folder where finetop was started"
        # every metric can be seen, and the one of which least is kept counts
        await pressed(pilot, "g")
        assert "0.90" in row_with(app, "★ c") and "66%" in row_with(app, "★ c")
        assert "exact match against retained" in text_of(app)
        await pressed(pilot, "v")
        assert "0.66" in row_with(app, "★ c") and "66%" in row_with(app, "★ c")
        assert "rules against retained" in text_of(app)
        await pressed(pilot, "v")
        assert "exact match against retained" in text_of(app)
        await pressed(pilot, "j", "j", "enter")
        assert "rules 0.663, now 1.000, 66% of the gain: the worst metric, which counts" in text_of(app)


async def test_the_trying_is_ended_when_that_is_meant_nothing_moves_while_scores_arrive_and_o_sorts() -> None:
    fake = MendingSupervisor(meanwhile())
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        await pilot.press("S", "escape")
        assert not asked(fake, Stop)
        await pressed(pilot, "S", "y")
        assert len(asked(fake, Stop)) == 1
        await pilot.press("j", "j")
        fake.found = after()
        fake.change()
        await settled(pilot, 0.8)
        letters = [line[4:5] for line in text_of(app).splitlines()[5:10]]
        assert letters == ["a", "b", "c", "d", "e"]
        await pressed(pilot, "o")
        letters = [line[4:5] for line in text_of(app).splitlines()[5:10]]
        assert letters == ["c", "e", "b", "a", "d"]
        assert "▸" in row_with(app, "half-way")


async def test_a_share_names_its_metric_and_a_verdict_has_the_interval_that_decided_it() -> None:
    alone = make_remedy("prune-small", "smaller half pruned", 0.9, 1.5, "regressed", decided=None)
    fake = MendingSupervisor(make_answer([*tried()[:3], alone], best="interpolate-0.5"))
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        for size in ((80, 24), (120, 40), (200, 50)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            assert "100% exact match  -3.6 (-4.6 to -3.1)   ✗ REGRESSED" in row_with(app, "b  3/4 of")
            assert "66% rules        -0.8 (-1.8 to -0.3)   ✓ ok" in row_with(app, "c  half-way to")
            assert "  -1.5, arith -22.0     ✗ REGRESSED" in row_with(app, "d  smaller half"), "what decided"
        fake.found = make_answer(
            tried(), Failed(NOW - 9, "out of memory even with rows of 256 tokens."), "interpolate-0.5"
        )
        fake.change()
        await pilot.resize_terminal(80, 24)
        await settled(pilot, 0.8)
        assert "✗ failed: out of memory even with rows of" in text_of(app), "why the trying failed is said"
        assert "keeps 66% of the gain by rules" in text_of(app)


async def test_weights_that_changed_are_checked_before_anything_is_tried() -> None:
    others = make_remedy("interpolate-0.5", "half-way to the base", weights_now="changed")
    fake = MendingSupervisor(make_answer([others], now=None, weights_now="changed"))
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        shown = text_of(app)
        assert "weights changed since its check" in shown
        assert f"! the weights of {RUN}@1200 changed since they were checked" in shown
        assert "back, then f: check it: its weights changed since they were checked" in shown
        assert "tried on other weights" in row_with(app, "half-way")


def test_a_good_number_has_no_red_bar() -> None:
    for remedy in tried():
        line = remedy_line(RemediesState("", after()), remedy, "a", has_cursor=False, width=118)
        assert not [text for text, style in line if style == "red" and set(text) & set("█▏▎▍▌▋▊▉")]


def test_details_name_the_step_once() -> None:
    row = make_remedy("checkpoint-800", "checkpoint 800", settings={"step": 1200})
    lines = ["".join(text for text, _ in line) for line in detail_lines(after(), row, 78)]
    assert sum(line.count("step") for line in lines) == 1 and any("at step 1,200" in line for line in lines)


async def test_r_leads_here_enter_to_details_e_saves_and_c_compares_with_what_trained_again(
    tmp_path: Path,
) -> None:
    fake = MendingSupervisor(after())
    async with shown_app(make_app(fake, tmp_path)) as (app, pilot):
        await opened(pilot)
        assert isinstance(app.screen, RemediesScreen)
        await pressed(pilot, "escape")
        assert isinstance(app.screen, RunsScreen)
        await pressed(pilot, "enter", "r", within_s=0.2)
        assert isinstance(app.screen, RemediesScreen)
        await pressed(pilot, "j", "j", "enter")
        text = text_of(app)
        assert "-0.8 (-1.8 to -0.3) on 192 of 336 selection items" in text
        assert "✓ confirmed  -0.8 (-2.0 to +0.4) on 300 of 336 fresh items, at alpha 0.005" in text
        assert "strength 0.5" in text and "arith" in text
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        assert text_of(app).splitlines()[-3].startswith("╰──"), "its frame ends below it"
        await pilot.resize_terminal(80, 24)
        await pressed(pilot, "escape")
        assert "half-way to the base   66% rules" in text_of(app)
        await pressed(pilot, "e")
        await pressed(pilot, "enter")
        file = tmp_path / "support-full-1e-4-remedies.csv"
        rows = list(csv.DictReader(file.read_text().splitlines()))
        best = next(row for row in rows if row["name"] == "interpolate-0.5")
        assert (best["forgot?"], best["gain kept (worst metric)"][:5]) == ("ok", "0.663")
        assert (best["gain kept by exact_match"], best["confirmed"]) == ("0.95", "ok")
        assert best["change"] == "-0.8"
        await pressed(pilot, "c")
        assert "no retrained run yet" in text_of(app)
        again = make_row(77, "support-full-1e-4-lower-rate", Finished(NOW - 9, NOW - 5))
        fake.rows = [*fake.rows, again, make_row(78, "support-full-1e-4-x", Finished(NOW - 9, NOW - 5))]
        await pressed(pilot, "c", within_s=0.2)
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.state.names == ["support-full-1e-4", "support-full-1e-4-lower-rate"]
        # one that trains again opens Launch filled
        await pressed(pilot, "escape", "G", "R")
        assert "it replays already" in text_of(app)
        await pressed(pilot, "k", "R", within_s=0.5)
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen.state.key == "train.learning_rate"
        assert app.screen.state.form is not None and app.screen.state.form.edits == {
            "train.learning_rate": "1e-05",
            "name": f"{RUN}-lower-rate",
        }


@pytest.mark.parametrize("size", [(60, 20), (120, 40)], ids=["60x20", "120x40"])
async def test_hostile_words_draw_nothing_of_their_own(size: tuple[int, int]) -> None:
    rows = [replace(remedy, label=HOSTILE, about=HOSTILE, note=HOSTILE, reason=HOSTILE) for remedy in tried()]
    rows.append(make_remedy(HOSTILE, HOSTILE, why_not=HOSTILE))
    fake = MendingSupervisor(make_answer(rows, run=HOSTILE, metric=HOSTILE))
    async with shown_app(make_app(fake), size) as (app, pilot):
        await opened(pilot)
        for keys in ((), ("j", "enter"), ("escape", "o")):
            await pressed(pilot, *keys)
            assert is_clean(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("state", ["before", "meanwhile", "after"])
def test_picture(pictured: Any, size: tuple[int, int], state: str) -> None:
    assert pictured(make_app(MendingSupervisor(FOUND[state]())), size, "r", "j", "j")
