"""The Sweep screen by its keys: footer, texts, chart, hostile texts, and snapshots."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from sweep_fakes import SweepingSupervisor, by_rate, by_selector, by_word, make_answer, make_run
from tui_fakes import HOSTILE, is_clean, make_app, make_check, pressed, row_with, settled, shown_app, text_of

from finetop.core.features.sweeps import seed_groups
from finetop.core.protocol.messages.runs import SweepBrief
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.screens.sweep.picture import Point, axis_of, panel
from finetop.tui.screens.sweep.screen import SweepScreen
from finetop.tui.screens.sweep.state import SweepData, best

FOUND = {"rate": by_rate, "selector": by_selector, "word": by_word}


async def opened(pilot: Any) -> None:
    """Open the sweep of the run under the cursor of Runs."""
    await settled(pilot)
    await pressed(pilot, "w", within_s=0.2)


async def test_keys_lead_to_sweeps_and_runs_and_o_alone_moves_rows() -> None:
    fake = SweepingSupervisor(by_rate())
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        assert isinstance(app.screen, SweepScreen)
        await pressed(pilot, "right_square_bracket", within_s=0.2)
        assert "Sweep older" in text_of(app) and "rank" in text_of(app)
        await pressed(pilot, "left_square_bracket", within_s=0.2)
        await pressed(pilot, "c")
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.state.names == ["tone-1e-5-s1", "tone-1e-5-s2", "tone-1e-5-s3"]
        await pressed(pilot, "escape")

        def order() -> list[str]:
            return [line[4:8] for line in text_of(app).splitlines()[3:7]]

        await pressed(pilot, "o")
        assert order() == ["2e-4", "1e-3", "5e-5", "1e-5"]
        assert "▸   1e-5" in text_of(app), "the cursor stays on its setting"
        fake.found = replace(by_rate(), runs=by_rate().runs[::-1])
        fake.change()
        await settled(pilot, 0.3)
        assert order() == ["2e-4", "1e-3", "5e-5", "1e-5"]
        await pressed(pilot, "o")
        assert order() == ["1e-3", "2e-4", "5e-5", "1e-5"], "as they were queued"
        await pressed(pilot, "k", "right")
        assert row_with(app, "tone-5e-5-s2").startswith("▸✓")
        await pressed(pilot, "enter")
        assert isinstance(app.screen, RunScreen) and app.screen.run == "tone-5e-5-s2"
        await pressed(pilot, "escape")
        await pressed(pilot, "escape")
        assert isinstance(app.screen, RunsScreen)


async def test_the_best_is_the_run_with_the_best_target_that_has_not_regressed() -> None:
    """A setting may do worse on average, or have a seed that regressed, and yet hold the best run."""
    async with shown_app(make_app(SweepingSupervisor(by_rate()))) as (app, pilot):
        await opened(pilot)
        assert "open tone-2e-4-s2: the best target that has not regressed" in text_of(app), "0.93, not 0.91"
        await pressed(pilot, "b")
        assert isinstance(app.screen, RunScreen) and app.screen.run == "tone-2e-4-s2"
    sweeps = by_rate()
    runs = [run for run in sweeps.runs if run.row.name != "tone-2e-4-s2"]
    mixed = next(run for run in sweeps.runs if run.row.name == "tone-1e-3-s1")
    assert mixed.row.check is not None
    fine = replace(mixed.row.check, verdict="ok", target={"exact_match": (0.5, 0.94)})
    held = SweepData("tone")
    held.update(
        replace(sweeps, runs=[*runs, replace(mixed, row=replace(mixed.row, name="lucky", check=fine))])
    )
    leader = best(held)
    assert leader is not None and leader.name == "lucky"


async def test_without_a_sweep_it_says_how_to_make_one() -> None:
    async with shown_app(make_app(SweepingSupervisor(None))) as (app, pilot):
        await opened(pilot)
        assert "No sweeps yet." in text_of(app)
        assert "finetop run RECIPE --sweep" in text_of(app)


async def test_the_number_with_the_most_values_is_drawn_and_others_are_series() -> None:
    sweeps = by_selector()
    axis = axis_of(seed_groups.settings(sweeps.runs, sweeps.keys), sweeps.keys)
    assert axis is not None
    assert (axis.at, axis.series) == (1, (("random",), ("loss_band",), ("length",)))
    sweeps = by_word()
    assert axis_of(seed_groups.settings(sweeps.runs, sweeps.keys), sweeps.keys) is None
    async with shown_app(make_app(SweepingSupervisor(by_selector()))) as (app, pilot):
        await opened(pilot)
        assert row_with(app, "b length").split()[:3] == ["b", "length", "100"]
        assert "vs random" in text_of(app) and row_with(app, "b length").split()[-2:] == ["-0.4", "✓"]
        await pressed(pilot, "o")
        assert "loss_band" in text_of(app).splitlines()[3], "the best target of all, at 400 rows"


async def test_a_run_of_two_selectors_counts_once_and_no_target_is_ranked_by_its_loss() -> None:
    runs = []
    for at, (by, loss) in enumerate((("random,length", 1.9), ("diversity", 1.7)), start=1):
        values = {"select.by": by, "rows": "100"}
        losses = [{"eval_loss": loss + seed / 100} for seed in (1, 2)]
        runs += [make_run(2 * at + n, values, n, check=None, metrics=losses[n - 1]) for n in (1, 2)]
    fake = SweepingSupervisor(make_answer(runs, ["select.by", "rows"]))
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        assert "4 of 4 runs finished" in text_of(app)
        assert "same rows" in row_with(app, "length") and "retained" not in text_of(app)
        await pressed(pilot, "o")
        assert "diversity" in text_of(app).splitlines()[3]


@pytest.mark.parametrize(
    "size", [(60, 20), pytest.param((120, 40), marks=pytest.mark.slow)], ids=["60x20", "120x40"]
)
async def test_hostile_words_draw_nothing_of_their_own(size: tuple[int, int]) -> None:
    check = make_check("ok", 0.1, target={HOSTILE: [0.1, 0.2]}, reason=HOSTILE)
    runs = [make_run(at, {HOSTILE: value}, 1, check=check) for at, value in ((1, HOSTILE), (2, "b" * 400))]
    hostile = [replace(run, row=replace(run.row, name=HOSTILE)) for run in runs]
    sweeps = make_answer(hostile, [HOSTILE])
    fake = SweepingSupervisor(replace(sweeps, sweeps=[SweepBrief(HOSTILE, 2, 2, 0)]))
    async with shown_app(make_app(fake), size) as (app, pilot):
        app.open_sweep("")
        await settled(pilot, 0.2)
        for key in ("j", "o", "right"):
            await pressed(pilot, key)
            assert is_clean(app)


@pytest.mark.parametrize(
    ("state", "size"),
    [("rate", (80, 24)), ("rate", (120, 40)), ("selector", (80, 24)), ("word", (120, 40))],
    ids=["rate-80x24", "rate-120x40", "selector-80x24", "word-120x40"],
)
def test_picture(pictured: Any, state: str, size: tuple[int, int]) -> None:
    assert pictured(make_app(SweepingSupervisor(FOUND[state]())), size, "w", "j")


@pytest.mark.parametrize("height", range(6, 14))
@pytest.mark.parametrize("means", [(-1.4, -14.0), (-1.4, 0.2), (-3.2, -14.0), (-2.9, -3.1)])
def test_a_point_stands_on_its_side_of_the_limit(height: int, means: tuple[float, float]) -> None:
    named = enumerate(zip("xz", means, strict=True))
    points = [Point(float(at), str(at), mean, mean, mean, letter) for at, (letter, mean) in named]
    rows = ["".join(text for text, _ in line) for line in panel(points, "retained, points", -3.0, 40, height)]
    limit = next(at for at, row in enumerate(rows) if "limit -3" in row)
    for point in points:
        at = next(at for at, row in enumerate(rows[1:-1], 1) if point.letter in row[9:])
        assert (at < limit) == (point.mean > -3.0) and at != limit, rows


def test_labelled_heights_go_across_the_picture() -> None:
    points = [Point(float(at), str(at), mean, mean, mean, "o") for at, mean in enumerate((0.71, 0.93))]
    rows = ["".join(text for text, _ in line) for line in panel(points, "exact match", None, 40, 14)]
    labels = [row[:9].strip() for row in rows[1:-1] if "┈┈┈" in row]
    assert labels == ["0.93", "0.9", "0.8", "0.71"]
