"""The Compare screen."""

from __future__ import annotations

from typing import Any

import pytest
from compare_fakes import SeveralRuns, three
from msgspec.structs import replace
from run_fakes import make_run_app, make_source
from tui_fakes import NOW, asked, pressed, row_with, settled, shown_app, text_of, typed

from finetop.core.features.data_versions.messages import DataDiffer
from finetop.core.protocol.messages.runs import Curves, GetRun
from finetop.core.protocol.runs import Queued, Running
from finetop.tui.screens.compare.curves import axis_of_all
from finetop.tui.screens.compare.draw import scatter_lines, table_lines
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.compare.state import CompareState
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.theme import SERIES
from finetop.tui.widgets.lines import Lines

SIZES = [(80, 24), (120, 40)]


async def compared(fake: SeveralRuns, pilot: Any) -> CompareScreen:
    pilot.app.open_compare(list(fake.details))
    await settled(pilot, 0.3)
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    return screen


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize("keys", [[], ["j", "v", "left", "left"], ["tab"], ["tab"] * 2, ["tab"] * 3],
                         ids=["numbers", "numbers-cursor", "data", "samples", "scatter"])  # fmt: skip
def test_picture(snap_compare: Any, size: tuple[int, int], keys: list[str]) -> None:
    fake = three()

    async def press(pilot: Any) -> None:
        await settled(pilot)
        await compared(fake, pilot)
        await typed(pilot, *keys, within_s=0.1)

    assert snap_compare(make_run_app(fake), terminal_size=size, run_before=press)


async def test_the_footers_keys_do_what_they_say() -> None:
    fake = three()
    async with shown_app(make_run_app(fake), (120, 40)) as (app, pilot):
        screen = await compared(fake, pilot)
        assert screen.state.metrics == ["loss", "drift", "grad_norm", "tokens_per_s"], "in the grid of Run"
        await pressed(pilot, "v", "v", within_s=0.2)
        assert "▸drift" in text_of(app)
        await pilot.press("m", "y")
        assert "smoothed 0.9" in row_with(app, "▸drift") and text_of(app).count("log y") == 1
        await pilot.press("V", "V", "V")
        await pilot.press("left")
        assert "step 1" in text_of(app)
        asked_before = len(fake.asked)
        await pressed(pilot, "plus", within_s=0.2)
        assert any(isinstance(ask, Curves) and ask.first for ask in fake.asked[asked_before:])
        await pressed(pilot, "0", "j", "j", "X", within_s=0.2)
        assert screen.state.names == ["support-full-1e-4", "support-r16"] and "Compare 2 runs" in text_of(app)
        await pilot.press("X")
        assert "a comparison needs at least two runs." in text_of(app)
        await pressed(pilot, "tab", "tab", "tab", "tab", "enter", within_s=0.2)
        assert isinstance(app.screen, RunScreen) and app.screen.run == "support-r16"
        await pilot.press("escape", "escape")
        assert not isinstance(app.screen, CompareScreen)
        app.open_compare(["gone", "a", "b"])
        await pressed(pilot, "X")
        assert "there is no run gone." in text_of(app) and app.fault is None, "nothing to leave out yet"
        await pressed(pilot, "escape")
        fake.asked.clear()  # how the data of two runs differ is asked once for each pair
        await compared(fake, pilot)
        await typed(pilot, "tab", "j", "j", "j", within_s=0.2)
        assert "374 in both, 38 changed, 5 only in B" in text_of(app)
        assert [ask.other for ask in asked(fake, DataDiffer)] == ["support-r16", "support-full-1e-5"]


def test_of_runs_on_different_tests_none_is_the_best_by_its_target() -> None:
    first, two, old = three().details.values()
    tests = [replace(make_source(1, 40), use="test", content=content) for content in ("a" * 64, "b" * 64)]
    first, two = (
        replace(run, sources=[*run.sources, test]) for run, test in zip((first, two), tests, strict=True)
    )
    for runs, are_told in (((first, two), True), ((first, old), False), ((first, first), False)):
        lines = table_lines(CompareState([], runs), NOW)
        text = "\n".join("".join(part for part, _ in line) for line in lines)
        assert ("They were measured on different tests" in text) is are_told
        assert ("0.91 *" in text) is (not are_told and runs[1] is old)
    drawn = scatter_lines(CompareState([], [first, two], size=(80, 20)))
    assert "different tests" in "".join(part for line in drawn for part, _ in line)


async def test_runs_that_go_on_are_asked_for_again_and_one_that_never_started_stretches_no_axis() -> None:
    fake = three()
    going = fake.details["support-r16"]
    state = Running(NOW - 800, "training", 820, 1200, "steps", 380.0)
    fake.details["support-r16"] = replace(going, row=replace(going.row, state=state))
    async with shown_app(make_run_app(fake), (120, 40)) as (app, pilot):
        await compared(fake, pilot)
        fake.asked.clear()
        fake.change()
        await settled(pilot, 0.3)
        assert {ask.run for ask in fake.asked if isinstance(ask, GetRun)} == {"support-r16"}
        row = replace(going.row, state=Queued(2, "waits"), step=0, steps=90_000, metrics={})
        fake.details["support-r16"] = replace(going, row=row)
        await pilot.press("escape")
        screen = await compared(fake, pilot)
        assert axis_of_all(screen.state).end == 1200 and "90,000" not in row_with(app, " step 0")


async def test_no_text_of_a_run_reaches_the_terminal_as_a_command() -> None:
    evil = "\x1b]52;c;aGk=\x07\x1b[2J\u202e"
    fake = three(evil)
    for name, detail in fake.details.items():
        samples = [replace(sample, prompt=evil, text=evil) for sample in detail.samples]
        fake.details[name] = replace(detail, samples=samples, recipe={"x": {"y": name + evil}})
    async with shown_app(make_run_app(fake)) as (app, pilot):
        await compared(fake, pilot)
        for _ in range(4):
            assert not {"\x1b", "\x07", "\u202e"} & set(text_of(app))
            await pilot.press("tab")


async def test_runs_have_letters_colours_and_names_that_differ() -> None:
    fake = three()
    for at, name in enumerate(list(fake.details)):
        detail = fake.details.pop(name)
        longer = f"smollm2-135m-instruct-support-lora-r0.000{at}"
        row = replace(detail.row, name=longer)
        fake.details[longer] = replace(detail, row=row)
    fake.detail = next(iter(fake.details.values()))
    async with shown_app(make_run_app(fake)) as (app, pilot):
        screen = await compared(fake, pilot)
        head = text_of(app).splitlines()[1]
        assert all(f"r0.000{at}" in head for at in range(3)) and "A smol" in head
        spans = [span for line in screen.query_one("#body", Lines).lines for span in line]
        for letter, style in zip("ABC", SERIES, strict=False):
            assert any(text.startswith(f" {letter} ") and name == style for text, name in spans)
            along = [text for text, name in spans if letter in text and name == style]
            assert [text for text in along if not text.startswith(f" {letter} ")], "along the line"


async def test_a_curve_is_hidden_a_chart_has_the_whole_tab_and_the_axes_are_those_of_run() -> None:
    fake = three()
    async with shown_app(make_run_app(fake), (120, 40)) as (app, pilot):
        screen = await compared(fake, pilot)
        assert " B 0.954" in text_of(app)
        await pilot.press("j", "space")
        assert " B 0.95" not in text_of(app) and "1 hidden" in text_of(app) and " C 0.7" in text_of(app)
        await pressed(pilot, "space", "z", within_s=0.2)
        assert " B 0.957" in text_of(app) and "results, * best" not in text_of(app)
        await pilot.press("escape")
        assert "results, * best" in text_of(app) and app.screen is screen
        assert "start cut off" in text_of(app) and "\n    2 ┈" not in text_of(app)
        await pressed(pilot, "i", within_s=0.2)
        assert "start cut off" not in row_with(app, " loss") and "\n    2 ┈" in text_of(app)
        await pressed(pilot, "x", within_s=0.2)
        assert "by tokens" in text_of(app) and "614k" in text_of(app)
        await pressed(pilot, "x", within_s=0.2)
        assert "  min 0 " in text_of(app) and "pauses left out" in text_of(app)


async def test_the_charts_are_those_of_run() -> None:
    fake = three()
    async with shown_app(make_run_app(fake)) as (app, pilot):
        for size, charts in (((80, 24), 2), ((120, 40), 4), ((200, 50), 9)):
            await pilot.resize_terminal(*size)
            app.open_run(fake.detail.row.name)
            await settled(pilot, 0.3)
            of_run = app.screen
            assert isinstance(of_run, RunScreen) and of_run.detail is not None
            layout = of_run.state.layout
            await pilot.press("escape")
            screen = await compared(fake, pilot)
            own = screen.state.layout
            assert own.charts == charts
            assert (own.chart_columns, own.chart_width) == (layout.chart_columns, layout.chart_width)
            assert screen.state.metrics == of_run.state.charted
            assert text_of(app).count(" step 0 ") == len(screen.state.metrics)
