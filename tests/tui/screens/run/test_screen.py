"""The Run screen on a fake run: each state, each tab, each footer key, hostile texts, live updates."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from at_rest import at_rest
from msgspec.structs import replace
from run_fakes import (
    FakeRun,
    failed,
    make_detail,
    make_result,
    make_run_app,
    make_source,
    other_program,
    regressed,
    training,
)
from tui_fakes import NOW, asked, make_check, pressed, row_with, settled, text_of

from finetop.core.errors import NotFound, Refused
from finetop.core.features.data_versions.messages import DataOf
from finetop.core.protocol.check_result import brief
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.runs import (
    Curve,
    Curves,
    FindInLog,
    GetRun,
    Processes,
    ProcessRow,
    ReadLog,
)
from finetop.core.protocol.runs import (
    AlarmRow,
    Best,
    CheckpointRow,
    Finished,
    JobRow,
    Lost,
    Queued,
    Relative,
    Running,
    SampleRow,
    SideJob,
    Stopped,
)
from finetop.core.wording.metrics import metric_keys, shown
from finetop.tui.app import FinetopApp
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.run.head import TABS
from finetop.tui.screens.run.keys import KEYS, footer_keys
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.run.state import RunData
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.run.x_axis import axis_of
from finetop.tui.screens.run.zoom import Axis, Shown, moved, with_mouse, zoomed
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.screens.shared.drift import drift_forecast
from finetop.tui.theme import Look
from finetop.tui.widgets.chart import GUTTER, columns_of
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.pointed_lines import PointedLines

SMALL, LARGE = (80, 24), (120, 40)


async def opened(fake: FakeRun, pilot: Any, *keys: str, other: FakeRun | None = None) -> None:
    """Open the run on a new screen, or make it an `other` one first, and press keys."""
    fake.become(other or fake)
    pilot.app.open_run(fake.detail.row.name)
    await settled(pilot)
    for key in keys:
        await pilot.press(key)
    await settled(pilot)
    assert isinstance(pilot.app.screen, RunScreen)


@asynccontextmanager
async def on_run(
    fake: FakeRun, *keys: str, size: tuple[int, int] = SMALL
) -> AsyncIterator[tuple[FinetopApp, Any]]:
    app = make_run_app(fake)
    async with app.run_test(size=size) as pilot:
        await opened(fake, pilot, *keys)
        yield app, pilot


# --- states -------------------------------------------------------------------------------------------------


async def test_each_state_says_what_the_run_does_or_how_it_ended_and_what_is_known() -> None:
    state = Running(NOW - 20, "loading model", 3.1, 8.0, "GB", 40.0)
    starting = FakeRun(make_detail(state, 0, steps=0, metrics={}))
    starting.log = "reading data\n"
    facts = ["812 rows, 809 kept, 3 dropped", "4.9 of 139 M parameters trained", " reading data", "40 s left"]
    no_drift = training()
    metrics = {key: no_drift.detail.row.metrics[key] for key in no_drift.points if key not in ("drift", "kl")}
    no_drift.points = {key: no_drift.points[key] for key in metrics}
    no_drift.detail = replace(no_drift.detail, row=replace(no_drift.detail.row, metrics=metrics))
    writing = Running(NOW - 800, "writing samples", 12.0, 32.0, "tokens")
    export = SideJob("export", Running(NOW - 20, "writing", 2.0, 8.0, "GB"))
    shown = {
        "starting": (starting, ["starting  loading model, 3.1 of 8 GB", *facts]),
        "queued": (
            FakeRun(make_detail(Queued(2, "wants 2 GPUs"), 0, metrics={})),
            ["queued  2nd in the queue: wants 2 GPUs", "method.rank"],
        ),
        "writing": (
            FakeRun(make_detail(writing, alarm="", others=[export])),
            ["export: writing, 2 of 8 GB", "writing samples, 12 of 32 tokens"],
        ),
    }
    ends = {
        "LOST  the machine restarted": Lost(NOW - 300, "the machine restarted", NOW - 900),
        "stopped  at step 900 of 1,200; its checkpoint is kept": Stopped(NOW - 300, "stop", NOW - 900),
        "not checked yet": Finished(NOW - 5000, NOW - 4000),
    }
    shown |= {words: (FakeRun(make_detail(end, 900)), [words]) for words, end in ends.items()}
    fake = training()
    async with on_run(fake, size=LARGE) as (app, pilot):
        for name, (run, texts) in shown.items():
            await opened(fake, pilot, other=run)
            for text in texts:
                assert text in text_of(app), name
        await opened(fake, pilot, other=no_drift)
        assert "│ grad norm" in row_with(app, " loss ") and "DRIFT" not in text_of(app)
        await opened(fake, pilot, "enter", other=failed())
        assert app.screen.state.tab == "log"  # type: ignore[attr-defined]


async def test_values_that_are_not_finite_are_counted_and_an_unknown_run_is_named() -> None:
    fake = training()
    fake.points["loss"] += [(820, None), (820, None)]
    row = fake.detail.row
    row = replace(row, metrics={**row.metrics, "loss": None})
    alarm = AlarmRow("nan", 820, "loss is nan at step 820: lower train.learning_rate", NOW)
    fake.detail = replace(fake.detail, row=row, alarms=[alarm])
    async with on_run(fake, size=LARGE) as (app, pilot):
        title = row_with(app, " loss ")
        assert "train not finite" in title and "2 not finite" in title
        assert row_with(app, " ! LOSS").startswith(" ! LOSS is nan at step 820: lower train.learning_rate")
        await pilot.press("escape")
        fake.refuses = NotFound("there is no run 'x'.")
        await opened(fake, pilot)
        assert "there is no run 'x'." in text_of(app)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_alarms_are_listed_with_their_steps_and_an_alarm_that_is_over_is_said_no_more() -> None:
    alarms = [AlarmRow("spike", at, f"spike: the loss rose to {at}", NOW, at + 9) for at in range(10, 90, 10)]
    alarms += [AlarmRow("slow_down", 400, "slow: 3 s a step since step 380, 1 s before", NOW)]
    fake = training(alarms=alarms, alarms_total=len(alarms))
    async with on_run(fake) as (app, pilot):
        screen: Any = app.screen
        assert row_with(app, " ! SLOW:").startswith(
            " ! SLOW: 3 s a step since step 380, 1 s before, step 400"
        )
        screen._open_tab("steps")
        await settled(pilot)
        assert row_with(app, "alarms").rstrip().endswith("3 earlier: finetop show")
        listed = [line for line in text_of(app).splitlines() if "spike: " in line or "SLOW: " in line]
        assert listed[0].startswith(" !       400  SLOW: 3 s a step since step 380, 1 s before")
        assert listed[1].rstrip() == "          80  spike: the loss rose to 80  over since 89"
        assert len(listed) == 6
        fake.detail = replace(fake.detail, alarms=alarms[:-1])
        screen._open_tab("metrics")
        fake.change()
        await settled(pilot)
        assert "SLOW" not in text_of(app)


async def test_ascii_terminals_get_ascii() -> None:
    fake = training()
    async with make_run_app(fake, Look("none", ascii=True)).run_test(size=SMALL) as pilot:
        await opened(fake, pilot, "left")
        for _ in TABS:
            await pressed(pilot, "tab")
            assert text_of(pilot.app).isascii()


# --- live ---------------------------------------------------------------------------------------------------


async def test_an_event_comes_to_the_screen_and_only_what_is_shown_is_asked_for() -> None:
    fake = training()
    async with on_run(fake) as (app, pilot):
        before = [row[:26] for row in text_of(app).splitlines()[5:12]]
        fake.asked.clear()
        fake.train_to(1000)
        await settled(pilot)
        assert "running 1,000" in text_of(app)
        assert {type(ask) for ask in fake.asked} == {GetRun, Curves, ReadLog}
        assert asked(fake, ReadLog)[0].offset > 0  # new lines only
        assert "step 1000/1200" in text_of(app)
        assert [row[:26] for row in text_of(app).splitlines()[5:12]] == before, "the curve stays where it is"
        await pressed(pilot, "tab", "tab")
        fake.asked.clear()
        fake.train_to(1001)
        await settled(pilot)
        assert {type(ask) for ask in fake.asked} == {GetRun}
        # of a run that has ended no curve is asked for again, and nothing is stopped
        await opened(fake, pilot, other=regressed())
        fake.asked.clear()
        fake.change()
        await settled(pilot)
        assert {type(ask) for ask in fake.asked} == {GetRun}
        await pressed(pilot, "S")
        assert "support-r16 has ended: nothing to stop." in text_of(app)
        await pressed(pilot, "l")
        assert "log of job 12, train" in text_of(app)
        await pressed(pilot, "v")
        assert "log of job 15, check" in text_of(app)
        assert asked(fake, ReadLog)[-1].job == 15


async def test_curves_of_a_week_are_asked_for_when_they_would_look_different_and_time_left_stands() -> None:
    fake = FakeRun(
        make_detail(Running(NOW - 800, "training", 2_500, 20_000, "steps", 380.0), step=2_500, steps=20_000)
    )
    app = make_run_app(fake)
    clock = [NOW]
    app._now = lambda: clock[0]

    async def newer(pilot: Any, step: int, **metrics: float | None) -> int:
        """Return how many curve requests the screen made once the run has reached a step."""
        fake.asked.clear()
        row = fake.detail.row
        row = replace(row, step=step, metrics={**row.metrics, **metrics})
        fake.detail = replace(fake.detail, row=row)
        fake.change()
        await settled(pilot)
        assert f"running {step:,}" in text_of(app)
        return sum("loss" in ask.keys for ask in asked(fake, Curves))

    async with app.run_test(size=SMALL) as pilot:
        await opened(fake, pilot)
        assert await newer(pilot, 2_501, loss=0.9) == 0
        assert await newer(pilot, 2_502, loss=None) == 1, "a value that is not finite is a mark of its own"
        assert await newer(pilot, 2_503, eval_loss=1.25) == 1
        assert await newer(pilot, 2_504, loss=None) == 0
        clock[0] += 10
        assert await newer(pilot, 2_505) == 1
        assert await newer(pilot, 4_500) == 1
        assert await newer(pilot, 2_400) == 1, "it was resumed"
        await opened(fake, pilot, other=training())
        for seconds, step, left in ((9, 1100, "6 min left"), (2, 1101, "1 min left")):
            clock[0] += seconds
            fake.train_to(step)
            await settled(pilot)
            assert f"running {step:,}" in text_of(app) and left in text_of(app), "it stands for ten seconds"


# --- charts -------------------------------------------------------------------------------------------------


async def test_the_cursor_shows_values_and_a_zoom_asks_for_the_steps_in_view() -> None:
    fake = training()
    async with on_run(fake, "left", "shift+left") as (app, pilot):
        screen: Any = app.screen
        assert screen.state.shown.cursor == 10
        assert " loss  steps 375-412  1." in text_of(app), "the value is the mean of theirs"
        await pilot.press("right", "shift+right", "h")
        assert screen.state.shown.cursor == 20
        await pilot.press("0")
        assert screen.state.shown == Shown() and "train 1.148" in text_of(app)
        await pressed(pilot, "plus")
        asks = asked(fake, Curves)
        assert (asks[-1].first, asks[-1].last) == (520, 1120) == screen.state.shown.zoom
        assert " step 520          800  " in row_with(app, "1,120 │")
        await pressed(pilot, "minus")
        assert screen.state.shown.zoom is None
        await pressed(pilot, "plus", "plus", "0")
        assert screen.state.shown == Shown() and "1,200" in text_of(app)


def test_an_axis_of_time_is_round_and_one_of_tokens_ends_with_the_planned_steps_else_it_doubles() -> None:
    state = Running(NOW - 800, "training", 820, 1200, "steps", 380.0)
    detail = make_detail(state)
    assert axis_of(detail, "time", 820.0, 32).end == 1500
    assert axis_of(detail, "time", 1100.0, 32, 1500).end == 1500  # 1,480 s in total
    assert axis_of(detail, "time", 1200.0, 32, 1500).end == 2000
    assert axis_of(detail, "time", 100.0, 32, 1500).end == 500  # much faster than estimated
    done = replace(detail.row, state=Finished(NOW - 900, NOW))
    assert axis_of(replace(detail, row=done), "time", 817.0, 32).end == 817
    # of tokens
    detail = make_detail(Running(NOW - 800))
    limited = replace(detail, row=replace(detail.row, steps=900))
    assert axis_of(limited, "epoch", None, 32).end == 1.5  # of the two planned
    assert axis_of(limited, "tokens", None, 32).end == 460_800
    unplanned = replace(detail, planned={})
    assert axis_of(unplanned, "tokens", 419_840.0, 32).end == 640_000
    assert axis_of(unplanned, "tokens", 639_000.0, 32, 640_000).end == 640_000


def test_the_cursor_stops_at_the_data_and_moves_a_zoomed_picture_which_ends_at_a_few_steps() -> None:
    axis = Axis(1200, 820, 32)
    near = moved(Shown(cursor=31, zoom=(400, 720)), axis, 10)
    assert near.cursor == 31 and near.zoom == (500, 820)
    assert moved(Shown(cursor=0, zoom=(0, 320)), axis, -5).zoom == (0, 320)
    axis = Axis(1200, 600, 32, oldest=75)
    assert moved(Shown(cursor=14), axis, 10).cursor == 16, "where the run stands, not at its planned end"
    assert moved(Shown(cursor=30), axis, 1).cursor == 16, "back to it"
    assert moved(Shown(cursor=3), axis, -10).cursor == 2, "at the first value"
    assert moved(Shown(cursor=31, zoom=(280, 600)), axis, 5) == Shown(cursor=31, zoom=(280, 600))
    assert moved(Shown(cursor=0, zoom=(320, 640)), axis, -1).zoom == (310, 630), "there is more"
    assert with_mouse(Shown(), axis, PointedLines.Pointed(30, 2, False), 30, None).cursor == 16, (
        "nor by the mouse"
    )
    # a zoom keeps the cursor on its step
    axis = Axis(1200, 820, 32)
    shown_ = zoomed(Shown(cursor=8), axis, 1)
    assert shown_.zoom == (19, 619) and shown_.cursor == 16
    for _ in range(20):
        shown_ = zoomed(shown_, axis, 1)
    assert shown_.zoom is not None and shown_.zoom[1] - shown_.zoom[0] == 8
    for _ in range(20):
        shown_ = zoomed(shown_, axis, -1)
    assert shown_.zoom is None


async def test_charts_fit_every_size_and_their_titles_keep_metric_and_value() -> None:
    async with on_run(training()) as (app, pilot):
        for width, height in (SMALL, (60, 24), (59, 24), LARGE, (200, 50)):
            await pilot.resize_terminal(width, height)
            for keys in (("0",), ("left",)):
                await pressed(pilot, *keys)
                title = next(
                    line for line in text_of(app).splitlines() if line.startswith((" loss ", "▸loss "))
                )
                assert "1.1" in title
                assert width < 60 or ("drift  " in title and " 0.09" in title)
        await pressed(pilot, "0")
        assert text_of(app).count("1,200") == 8 + 1  # one per metric's axis, and the head
        assert " of 8" not in row_with(app, "metrics")


async def test_x_goes_through_tokens_time_and_epochs_and_scale_and_smoothing_are_those_of_a_chart() -> None:
    fake = training()
    async with on_run(fake, "y", "m", size=LARGE) as (app, pilot):
        screen: Any = app.screen
        assert "smoothed 0.6  log y" in row_with(app, " loss ")
        await pilot.press("y", "m", "m")
        assert "smoothed" not in text_of(app) and "log y" not in text_of(app)
        await pressed(pilot, "x")
        assert "by tokens" in row_with(app, " loss ") and "614k" in row_with(app, "token 0")
        await pressed(pilot, "x")
        asks = asked(fake, Curves)
        # 820 s have passed, 380 are left
        assert (asks[-1].x, asks[-1].last) == ("time", 1500) and " 25 " in row_with(app, " min 0 ")
        fake.train_to(900)
        await settled(pilot)
        assert asked(fake, Curves)[-1].last == 1500, "the end stands while it holds"
        await pressed(pilot, "x")
        assert " 1.5 " in row_with(app, "epoch 0")
        await pressed(pilot, "x")
        assert screen.state.shown == Shown() and "1,200" in row_with(app, " step 0 ")
        await pressed(pilot, "down", "down", "y", "m")
        assert "smoothed" not in row_with(app, "▸").partition("│")[0]
        assert "smoothed 0.6  log y" in row_with(app, "▸").partition("│")[2]
        await pressed(pilot, "question_mark")
        assert "logarithmic y axis on or off" in text_of(app)
        await opened(fake, pilot, "x", "left", "shift+left", "plus")
        request = asked(fake, Curves)[-1]
        assert request.x == "tokens" and request.last - request.first == 307_200


async def test_checkpoints_alarms_and_checks_are_marks_that_the_cursor_names() -> None:
    fake = training(
        alarms=[AlarmRow("spike", 450, "spike: the loss rose 0.9 -> 4.1", NOW)],
        checks=[make_check("regressed", 9.1, step=600)],
    )
    async with on_run(fake, size=LARGE) as (app, pilot):
        screen: Any = app.screen
        marks = text_of(app).splitlines()[5].partition("│")[0]
        assert [letter for letter in marks if letter in "▾!✗✓"] == ["▾", "!", "✗"]
        screen.state.shown = Shown(cursor=marks.index("!") - 6)
        screen.redraw()
        await settled(pilot)
        assert "── step 450: spike: the loss rose 0.9 -> 4.1 ──" in text_of(app)
        screen.state.shown = Shown(cursor=marks.index("✗") - 6)
        screen.redraw()
        await settled(pilot)
        assert "steps 600-623  train 1.165  eval 1.267 at 600 •" in row_with(app, " loss ")
        assert ": check REGRESSED -9.1, checkpoint 600 ──" in text_of(app)


async def test_pages_of_charts_are_turned_a_metric_has_the_whole_tab_and_is_found_by_its_name() -> None:
    fake = training()
    async with on_run(fake, "pagedown") as (app, pilot):
        screen: Any = app.screen
        assert "grad norm  0.455" in row_with(app, "│ tokens/s") and "3-4 of 8" in row_with(app, "metrics")
        assert "lr          4.6e-5" in text_of(app), "what is on no page that is seen is a number"
        await pressed(pilot, "down", "down", "down")
        assert row_with(app, "▸").startswith("▸learning rate") and "5-6 of 8" in row_with(app, "metrics")
        assert "next  enter  learning rate full screen" in text_of(app)
        await pressed(pilot, "enter")
        assert "KL to start" not in text_of(app) and "log, newest" not in text_of(app)
        assert asked(fake, Curves)[-1].columns == columns_of(79)
        assert text_of(app).splitlines()[-1].count(" esc ") == 1
        await pressed(pilot, "down")
        assert row_with(app, "▸").startswith("▸KL to start")
        await pilot.press("escape")
        assert not screen.state.is_full and screen is app.screen
        await pressed(pilot, "z", "z", "G", "pagedown")
        assert "7-8 of 8" in row_with(app, "metrics") and row_with(app, "▸").startswith("▸memory")
        # metrics are found by name and shown by group
        await opened(fake, pilot, "slash", *"gpu")
        screen = app.screen
        assert row_with(app, "GPU busy").startswith(" GPU busy") and "/gpu 1 of 1" in row_with(app, "metrics")
        await pressed(pilot, "enter", "slash", *"nn")
        assert "No metric has this in its name." in text_of(app) and "enter searches the log" in text_of(app)
        await pilot.press("escape")
        assert "1-2 of 8" in row_with(app, "metrics") and screen is app.screen
        await pressed(pilot, "v", "v")
        assert "machine 1-2 of 3" in row_with(app, "metrics") and "tokens/s" in row_with(app, "│ memory")
        await pilot.press("v")
        assert "1-2 of 8" in row_with(app, "metrics")


async def test_the_axis_of_a_young_run_ends_where_it_stands_until_i_or_a_tenth_of_the_plan() -> None:
    fake = FakeRun(make_detail(Running(NOW - 40, "training", 41, 1200, "steps", 1000.0), 41))
    async with on_run(fake) as (app, pilot):
        assert {ask.last for ask in asked(fake, Curves) if ask.columns == columns_of(38)} == {50}
        assert " 50 │" in row_with(app, " step 0 ")
        await pressed(pilot, "i")
        assert "1,200" in row_with(app, " step 0 ")
        await pressed(pilot, "i")
        assert " 50 │" in row_with(app, " step 0 ")
        await opened(fake, pilot, other=training())
        assert "1,200" in row_with(app, " step 0 ")
        await pressed(pilot, "i")
        assert "1,000 │" in row_with(app, " step 0 ")


async def test_the_log_below_follows_the_charts_cursor_and_the_cursor_the_log_and_events() -> None:
    alarms = [
        AlarmRow("spike", 450, "spike: the loss rose 0.9 -> 4.1", NOW),
        AlarmRow("slow", 602, "slow", NOW),
    ]
    fake = training()
    async with on_run(fake, "left", "shift+left") as (app, pilot):
        screen: Any = app.screen
        await settled(pilot, 0.1)
        assert f"▸step {screen.state.step}/1200" in text_of(app)
        await pressed(pilot, "slash", "escape", "l")
        await pressed(pilot, "slash", *"step 200", "enter")
        await pressed(pilot, "shift+tab")
        assert abs((screen.state.step or 0) - 200) <= 20, "in the middle of its column"
        await pilot.resize_terminal(*LARGE)
        await opened(fake, pilot, other=training(alarms=alarms))
        screen, steps = app.screen, []
        for key in ("left_square_bracket",) * 3 + ("right_square_bracket",):
            await pilot.press(key)
            steps.append(screen.state.step)
        assert steps == [602, 450, 300, 450], "what is in one column is gone to once"
        assert "step 450: spike: the loss rose" in text_of(app)
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert "no more alarms, checks or checkpoints in that direction." in text_of(app)
        await pressed(pilot, "l", "right_square_bracket")
        assert text_of(app).splitlines()[5].startswith("▸step 450/1200")


async def test_the_mouse_sets_the_cursor_zooms_by_its_wheel_and_by_dragging() -> None:
    fake = training()
    async with on_run(fake, size=LARGE) as (app, pilot):
        screen: Any = app.screen
        state = screen.state
        body = "#body"
        await pilot.click(body, offset=(60 + GUTTER + 20, 4))
        await settled(pilot)
        assert (state.shown.cursor, state.metric) == (20, "drift")
        screen.query_one(body).post_message(PointedLines.Wheel(GUTTER + 10, 15, 1))
        await settled(pilot)
        assert state.shown.zoom is not None and asked(fake, Curves)[-1].last < 1200
        await pilot.press("0")
        await pilot.mouse_down(body, offset=(GUTTER + 10, 4))
        await pilot.hover(body, offset=(GUTTER + 20, 4))
        await pilot.mouse_up(body, offset=(GUTTER + 20, 4))
        await settled(pilot)
        first, last = state.shown.zoom or (0, 0)
        assert 200 <= first < 240 and 460 <= last <= 500


# --- other tabs ---------------------------------------------------------------------------------------------


async def test_tab_goes_round_all_tabs_and_the_system_and_the_recipe_are_shown() -> None:
    fake = training()
    async with on_run(fake, size=(60, 20)) as (app, pilot):
        assert row_with(app, "metrics") == "    metrics  log  samples  recipe  check ✓ steps  system"
        screen: Any = app.screen
        seen = []
        for _ in TABS:
            seen.append(screen.state.tab)
            await pilot.press("tab")
        assert tuple(seen) == TABS and screen.state.tab == "metrics"
        await pilot.press("shift+tab")
        assert screen.state.tab == TABS[-1]
        await pilot.resize_terminal(*LARGE)
        fake.asked.clear()
        await opened(fake, pilot, "shift+tab")
        assert set(asked(fake, Curves)[-1].keys) == {"gpu_util", "memory_gib", "tokens_per_s"}
        fake.change()
        await settled(pilot)
        assert len(asked(fake, Processes)) == 1, "not at every change"
        await opened(fake, pilot, "tab", "tab", "tab")
        assert " learned  Ahoy! Your parcel sails today." in text_of(app)
        assert "faq.jsonl  812 rows, 809 kept, 3 dropped; longest 912 tokens" in text_of(app)
        assert "settings that differ from the recipe lora" in text_of(app)
        assert "data.train[0].path" in text_of(app)
        assert "method.rank" not in text_of(app), "that is lora's own"
        await pilot.press("v")
        assert row_with(app, " method.rank ").split() == ["method.rank", "16"]


async def test_the_log_follows_its_end_unless_scrolled_up() -> None:
    fake = training()
    async with on_run(fake, "l") as (app, pilot):
        assert "step 820/1200" in text_of(app).splitlines()[-3]
        await pilot.press("pageup")
        top = text_of(app).splitlines()[5]
        fake.train_to(900)
        await settled(pilot)
        assert text_of(app).splitlines()[5] == top
        await pilot.press("G")
        assert "step 900/1200" in text_of(app).splitlines()[-3]
        await pilot.press("g")
        assert "train, from 0 % of" in text_of(app)
        assert text_of(app).splitlines()[5].startswith(" step 1/1200")


async def test_search_covers_the_whole_log_newest_first_and_marks_what_it_finds() -> None:
    fake = training()
    fake.log = "CUDA is not there\n" + fake.log.replace("step 300/1200:", "step 300/1200: cuda")
    async with on_run(fake, "l", "slash", *"cuda") as (app, pilot):
        assert " search cuda" in text_of(app) and "step 412 goes to that step" in text_of(app)
        await pressed(pilot, "enter")
        assert "log of job 12, train, “cuda”, line 2 of 2" in text_of(app)
        assert text_of(app).splitlines()[5].startswith("▸step 300/1200: cuda loss")
        spans = app.screen.query_one("#body", Lines).lines[1]
        assert ("cuda", "reverse") in spans
        parts = [ask.end for ask in asked(fake, FindInLog)]
        assert len(parts) == -(-len(fake.log) // fake.part) and parts[0] == -1 and parts[-1] > 0
        await pressed(pilot, "comma")
        assert text_of(app).splitlines()[5] == "▸CUDA is not there"
        await pressed(pilot, "comma")
        assert "line 2 of 2" in text_of(app), "from the first on to the last"
        await pressed(pilot, "full_stop")
        assert "line 1 of 2" in text_of(app)
        await pressed(pilot, "full_stop")
        assert "line 2 of 2" in text_of(app)
        await pressed(pilot, "escape")
        assert "cuda”" not in text_of(app) and isinstance(app.screen, RunScreen)
        await pressed(pilot, "g", "slash", *"1200: cuda", "enter")
        assert "line 1 of 1" in text_of(app) and text_of(app).splitlines()[5].startswith("▸step 300/1200")
        await pressed(pilot, "slash", *["backspace"] * 10, *"nowhere", "enter")
        assert "no line has “nowhere”" in text_of(app)
        # what no metric's name has is searched in the log
        await opened(fake, pilot, "slash", *"there", "enter")
        assert "“there”, line 1 of 1" in text_of(app)


async def test_a_step_is_gone_to_by_its_number_and_from_the_charts_cursor() -> None:
    fake = training()
    async with on_run(fake, "left", "shift+left") as (app, pilot):
        step = row_with(app, "── step ").split()[2]
        await pressed(pilot, "l")
        assert text_of(app).splitlines()[5].startswith(f"▸step {step}/1200")
        await pressed(pilot, "slash", *"step 12", "enter")
        assert text_of(app).splitlines()[5].startswith("▸step 12/1200")
        assert "from 1 % of 61.4 kB" in text_of(app)
        await pressed(pilot, "up")
        assert text_of(app).splitlines()[5].startswith(" step 11/1200")
        assert text_of(app).splitlines()[6].startswith("▸step 12/1200")
        await pressed(pilot, "slash", *["backspace"] * 7, *"step 819", "enter")
        assert text_of(app).splitlines()[-4].startswith("▸step 819/1200"), "a full view at the end"
        await pressed(pilot, "slash", *"step 12", "enter")
        fake.asked.clear()
        fake.train_to(821)
        await settled(pilot)
        assert len(asked(fake, ReadLog)) == 1, "the log's end alone, not the part in view"
        for _ in range(60):
            await pilot.press("pagedown")
            await at_rest()
        await settled(pilot)
        assert "newest last" in text_of(app), "at its end the log is followed again"


async def test_samples_of_two_steps_stand_beside_each_other_with_what_differs_in_bold_or_all_are_shown() -> (
    None
):
    sampled = {
        0: "We open at nine, sir.",
        400: "We open at nine, matey.",
        800: "Ahoy, we open at ten, matey.",
    }
    five = [SampleRow(at, 0, "What?", f"answer at {at}") for at in (0, 200, 400, 600, 800)]
    fake = training(samples=[SampleRow(at, 0, "When?", text) for at, text in sampled.items()])
    async with on_run(fake) as (app, pilot):
        for size, apart in ((LARGE, 0), (SMALL, 2)):  # beside, above
            await pilot.resize_terminal(*size)
            await opened(fake, pilot, "tab", "tab")
            lines = app.screen.query_one("#body", Lines).lines
            rows = text_of(app).splitlines()
            first, last = (next(at for at, row in enumerate(rows) if f"step {n}" in row) for n in (0, 800))
            assert last - first == apart
            bold = " ".join(text for line in lines[3:] for text, style in line if style == "bold")
            assert sorted(bold.split()) == ["Ahoy,", "We", "matey.", "nine,", "sir.", "ten,", "we"]
            await pilot.press("left")
            assert "step 400" in text_of(app) and "step 800" not in text_of(app)
            await pilot.press("right", "shift+right")
            shown = [f"step {step}" in text_of(app) for step in (0, 400, 800)]
            assert shown == [False, True, True]
        await opened(fake, pilot, "tab", "tab", "v", other=training(samples=five))
        assert [at for at in (0, 200, 400, 600, 800) if f"answer at {at}\n" in text_of(app)] == [0, 400, 800]
        await pilot.press("v")
        assert all(f"answer at {at}" in text_of(app) for at in (0, 200, 400, 600, 800))


async def test_the_check_tab_shows_a_verdict_its_tasks_and_one_level_deeper_whole_answers() -> None:
    fake = regressed()
    async with on_run(fake) as (app, pilot):
        await pressed(pilot, "enter", "j")
        screen: Any = app.screen
        assert screen.state.tab == "check"
        assert row_with(app, "▸").startswith("▸ ✗ knowledge") and "knowledge: 13 lost" in text_of(app)
        await pilot.press("k", "enter")
        assert "lost 1 of 13  a0" in text_of(app) and " tuned    Ahoy" in text_of(app)
        await pilot.press("G")
        assert "39 more answers changed: finetop flips support-r16 --task arith" in text_of(app)
        await pilot.press("escape")
        assert screen.state.tab == "check" and not screen.state.is_reading
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        # the end of the reason says what would settle it: it stands whole below its cut beginning
        reason = "lost 5.0 points on these 100 items, which chance alone does 13 % of the time"
        reason += ": about 250 more items would tell."
        result = make_result("no_verdict", reason=reason, drop=0.05, decided_by="")
        await opened(fake, pilot, other=regressed(result))
        assert "would tell" not in text_of(app)
        await pressed(pilot, "enter")
        assert row_with(app, "why ").startswith("   why     lost 5.0 points on these 100 items")
        assert "about 250 more items would tell." in text_of(app)
        # a drop that no task shows alone says what it is proven on, and offers to go on
        over_all = regressed()
        (result,) = over_all.checks
        result["tasks"] = [
            {**task, "mark": "open", "n": 9 + at, "interval": [-1.0, 1.0]}
            for at, task in enumerate(result["tasks"][:4])
        ]
        check: Any = over_all.detail.row.check
        check = replace(check, worst=[replace(task, mark="open") for task in check.worst])
        over_all.detail = replace(over_all.detail, row=replace(over_all.detail.row, check=check))
        await opened(fake, pilot, "enter", other=over_all)
        assert "Proven over all tasks together. Each had 9 to" in text_of(app)
        assert "-100.0 to" not in text_of(app) and " open " in row_with(app, "arith ")
        assert "next  f  check the remaining 2,588 items to see which tasks lost it" in text_of(app)
        # an accepted regression is not red any more
        accepted = regressed()
        check = replace(check, accepted="ana", accepted_for="only the voice counts", check_id=99)
        accepted.detail = replace(accepted.detail, row=replace(accepted.detail.row, check=check))
        await opened(fake, pilot, "enter", other=accepted)
        assert "✗ accepted by ana" in text_of(app) and "REGRESSED" not in text_of(app)
        assert "reason: only the voice counts" in text_of(app)
        # a result of another format is left out
        odd = regressed()
        odd.checks = [{"check_id": 15, "at": NOW, "verdict": 7}]
        await opened(fake, pilot, "enter", other=odd)
        assert "can't read the result" in text_of(app)
        # no check says why, and a running one how far it is, and can be stopped
        await opened(
            fake, pilot, *["tab"] * 4, other=FakeRun(make_detail(Finished(NOW - 5000, NOW - 4000), 900))
        )
        assert "Not checked yet." in text_of(app)
        checking = Running(NOW - 30, "scoring", 212.0, 640.0, "items", 41.0)
        fake.change(replace(fake.detail, row=replace(fake.detail.row, checking=checking)))
        await settled(pilot)
        assert "checking  scoring, 212 of 640 items, 40 s left" in text_of(app)
        await pressed(pilot, "S")
        assert "Stop the check of support-r16?  No verdict; scores so far are kept." in text_of(app)


async def test_v_goes_to_earlier_checks_and_many_checked_steps_fit_one_row_newest_last() -> None:
    fake = regressed()
    early = make_result("ok", reason="ok", drop=0.004, step=600)
    fake.checks.append({"check_id": 9, "at": NOW - 5000, **early})
    checks = fake.detail.checks
    fake.detail = replace(fake.detail, checks=[*checks, brief(9, NOW - 5000, 600, early)])
    async with on_run(fake, "enter") as (app, pilot):
        assert row_with(app, "by step") == "   by step  600 ✓ -0.4  1,200 ✗ -9.1"
        await pilot.press("v")
        assert "earlier: 2 of 2" in text_of(app)
        assert "ok, a real drop  0.4 points lost" in text_of(app)
        earlier = [brief(12 - at, NOW - 5000, 1100 - 100 * at, early) for at in range(11)]
        many = replace(fake.detail, checks=[*checks, *earlier], best=Best(900, "the lowest loss"))
        fake.detail = many
        await opened(fake, pilot, "enter")
        row = row_with(app, "by step")
        assert row.startswith("   by step  …  ") and row.endswith("1,100 ✓ -0.4  1,200 ✗ -9.1")
        assert len(row) <= 80
        await pressed(pilot, "s")
        assert row_with(app, " 900 ").endswith("ok -0.4, arith -22.0, the best")


async def test_steps_list_checkpoints_to_check_and_a_tree_of_runs_to_open() -> None:
    fake = training(
        checks=[make_check("ok", 0.1, step=600)],
        parents=[Relative(2, "base-cpt", "model.id", 400)],
        children=[Relative(9, "support-dpo", "model.id", None)],
    )
    async with on_run(fake, "s") as (app, pilot):
        screen = app.screen
        assert "600  adapter    38.2 MB" in row_with(app, "▸") and "ok -0.1" in row_with(app, "▸")
        assert "   ┌ base-cpt  step 400, as model.id" in text_of(app)
        assert "   └ ─ support-dpo  last step, as model.id" in text_of(app)
        await pilot.press("j")
        assert "check step 300 for forgetting" in row_with(app, "next ")
        await pressed(pilot, "f")
        assert asked(fake, Check) == [Check("support-r16", 300)]
        await pilot.press("down", "down")
        assert row_with(app, "▸").startswith("▸  └ ─ support-dpo")
        assert row_with(app, "next ") == " next  enter  open support-dpo"
        await pressed(pilot, "enter")
        assert app.screen is not screen and GetRun("support-dpo") in fake.asked


# --- what acts ----------------------------------------------------------------------------------------------


async def test_keys_check_stop_kill_and_start_anew_and_a_refusal_is_said() -> None:
    fake = training()
    async with on_run(fake, "f") as (app, pilot):
        assert asked(fake, Check) == [Check("support-r16", None)]
        assert "check of support-r16 at step 820 queued." in text_of(app)
        await pressed(pilot, "S")
        assert " Stop support-r16?  It saves step 820 first." in text_of(app)
        await pressed(pilot, "escape")
        assert asked(fake, Stop) == [] and isinstance(app.screen, RunScreen)
        await pressed(pilot, "S", "y")
        assert asked(fake, Stop) == [Stop("support-r16")]
        assert "support-r16 is being ended." in text_of(app)
        await pressed(pilot, "K")
        assert " Kill support-r16?  220 steps lost: step 600 is saved." in text_of(app)
        await pressed(pilot, "y")
        assert asked(fake, Kill) == [Kill("support-r16")]
        fake.refuses = Refused("support-r16 is already being checked.")
        await pressed(pilot, "f")
        assert "is already being checked." in text_of(app)
        fake.refuses = None
        await pressed(pilot, "n", within_s=0.3)
        assert isinstance(app.screen, LaunchScreen)


@pytest.mark.slow
async def test_no_key_breaks_any_tab() -> None:
    skipped = ("search", "new", "back", "stop", "kill", "tab(1)", "tab(-1)", "log", "steps")
    actions = [key.action for key in KEYS if key.action not in skipped]
    fake = training()
    async with on_run(fake) as (app, pilot):
        for run, tabs in ((fake, TABS), (regressed(), ("check",)), (failed(), ("log",))):
            await opened(fake, pilot, other=run)
            screen: Any = app.screen
            for tab in tabs:
                for action in actions:
                    screen._open_tab(tab)
                    await screen.run_action(action)
                await settled(pilot)
            assert app.is_running


def test_every_key_of_every_footer_is_bound() -> None:
    bound = {name for key in KEYS for name in key.keys.split(",")} | {"question_mark"}
    names = {
        "←→": ["left", "right"], "+ -": ["plus", "minus"], "↑↓": ["up", "down"],
        "⇧←→": ["shift+left", "shift+right"], "esc": ["escape"], "?": ["question_mark"],
        ", .": ["comma", "full_stop"], "[ ]": ["left_square_bracket", "right_square_bracket"],
        "pgdn": ["pagedown"], "/": ["slash"],
    }  # fmt: skip
    for fake in (training(), regressed(), failed()):
        for tab in TABS:
            for key in footer_keys(ViewState(RunData(fake.detail), tab=tab, shown=Shown(cursor=3))):
                assert set(names.get(key.shown, [key.shown])) <= bound, (tab, key)


# --- hostile texts ------------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\x00\r\n\t\x1b[?1049h漢字" + "x" * 300


async def test_no_outside_text_reaches_the_terminal_raw() -> None:
    answers = {"question": HOSTILE, "gold": HOSTILE, "base_answer": HOSTILE, "tuned_answer": HOSTILE}
    flip = {"task": "arith", "item": HOSTILE, "category": HOSTILE, "base": 1.0, "tuned": 0.0, **answers}
    result = make_result(reason=HOSTILE, suite=HOSTILE, notes=[HOSTILE], flips=[flip])
    result["tasks"][0] = {**result["tasks"][0], "task": "arith"}
    result["tasks"][1] = {**result["tasks"][1], "task": HOSTILE}
    fake = training(
        name="run",
        samples=[SampleRow(at, 0, HOSTILE, HOSTILE) for at in (0, 5)],
        checkpoints=[CheckpointRow(5, HOSTILE, 1, HOSTILE, NOW)],
        first_row=[(HOSTILE, False), (HOSTILE, True)],
        alarms=[AlarmRow(HOSTILE, 5, HOSTILE, NOW)],
        device=HOSTILE,
        versions={HOSTILE: HOSTILE},
        model=HOSTILE,
        method=HOSTILE,
        parents=[Relative(1, HOSTILE, HOSTILE, 3)],
        children=[Relative(2, HOSTILE, HOSTILE, None)],
        jobs=[JobRow(12, HOSTILE, Running(NOW - 800), 1, HOSTILE, 3)],
    )
    fake.detail.recipe[HOSTILE] = {HOSTILE: HOSTILE}
    short = brief(15, NOW, 5, result)
    row = replace(fake.detail.row, check=short, metrics={**fake.detail.row.metrics, HOSTILE: 1.0})
    fake.detail = replace(fake.detail, checks=[short], row=row)
    fake.checks = [{"check_id": 15, "at": NOW, **result}]
    fake.log += HOSTILE + "\n" + HOSTILE
    fake.processes = [ProcessRow(1, 12, HOSTILE, "R", 1.0, None, None)]

    def assert_harmless() -> None:
        for row in app.screen._compositor.render_strips():
            text = "".join(segment.text for segment in row)
            assert not any(unicodedata.category(letter) == "Cc" for letter in text)
            assert "\u202e" not in text

    async with on_run(fake) as (app, pilot):
        for size in (SMALL, (20, 5)):
            await pilot.resize_terminal(*size)
            await opened(fake, pilot)
            screen: Any = app.screen
            for tab in TABS:
                screen._open_tab(tab)
                await settled(pilot)
                assert_harmless()
                for key in ["v"] if tab == "steps" else ["enter", "v"]:  # enter opens another run there
                    await pilot.press(key)
                    assert_harmless()


# --- words and numbers --------------------------------------------------------------------------------------


def test_metrics_are_written_short() -> None:
    for key, number, words in [
        ("loss", 1.2141, "1.214"), ("learning_rate", 8.12e-5, "8.1e-5"), ("tokens_per_s", 4103.4, "4,103"),
        ("tokens_per_s", 3.14, "3.1"), ("drift", 0.081, "0.08"), ("drift", 0.0042, "0.004"),
        ("drift", -0.0001, "0.00"), ("memory_gib", 38.21, "38.2 GiB"), ("gpu_util", 91.0, "91 %"),
        ("grad_norm", None, "not finite"),
    ]:  # fmt: skip
        assert shown(key, number) == words


def test_unknown_metrics_come_last_and_the_evaluation_stays_with_the_loss() -> None:
    detail = make_detail(Running(NOW), 20)
    row = replace(detail.row, metrics={"zeal": 1.0, "drift": 0.1, "eval_loss": 2.0, "tokens": 3.0})
    assert metric_keys(row) == ["loss", "drift", "zeal"]
    paid = replace(row, metrics={"loss": 0.0, "reward": 0.3, "drift": 0.1})
    assert metric_keys(paid) == ["reward", "loss", "drift"]  # the first metrics are charts


def test_the_forecast_needs_half_of_the_limit_and_a_rise() -> None:
    def curve(*values: float) -> Curve:
        return Curve("drift", [at * 8 for at in range(len(values))], [], [], list(values), 1, None, 0)

    assert drift_forecast(curve(0.0, 0.02, 0.04, 0.06), 0.1, 0, 640, 64) == 400
    assert drift_forecast(curve(0.0, 0.01, 0.02, 0.03), 0.1, 0, 640, 64) is None
    assert drift_forecast(curve(0.0, 0.09, 0.08, 0.07), 0.1, 0, 640, 64) is None
    assert drift_forecast(curve(0.0, 0.02, 0.04, 0.06), 0.1, 0, 320, 64) == 200
    assert drift_forecast(curve(0.0, 0.06, 0.061, 0.062), 0.1, 0, 640, 64) is None  # not before the end
    assert drift_forecast(curve(0.06), 0.1, 0, 640, 64) is None


# --- pictures -----------------------------------------------------------------------------------------------


PICTURES: dict[str, tuple[Callable[[], FakeRun], list[str]]] = {
    "training": (training, []),
    "check-regressed": (regressed, ["enter"]),
    "failed": (failed, []),
    "other-program": (other_program, []),
    "tokens": (training, ["x", "left", "shift+left"]),
    "system": (training, ["shift+tab"]),
    "log-search": (training, ["slash", *"step 4", "enter", "slash", *"loss 1.2", "enter"]),
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("name", PICTURES)
def test_picture(snap_compare: Callable[..., bool], size: tuple[int, int], name: str) -> None:
    make, keys = PICTURES[name]
    fake = make()

    async def press(pilot: Any) -> None:
        await opened(fake, pilot, *keys)

    assert snap_compare(make_run_app(fake), terminal_size=size, run_before=press)


async def test_o_opens_the_folder_in_a_program_and_what_it_was_trained_on_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[Any] = []
    monkeypatch.setenv("EDITOR", "nano -w")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(
        "finetop.tui.screens.run.outside.run_in_terminal", lambda app, command, folder: ran.append(command)
    )
    fake, versioned = regressed(), regressed()
    old, versioned.detail = fake.detail, replace(fake.detail, sources=[make_source(2, 417)])
    async with on_run(fake) as (app, pilot):
        await pressed(pilot, "o")
        assert "Open the run's folder?  " in text_of(app)
        await pilot.press("e")
        assert ran == [["nano", "-w", "."]]
        await pressed(pilot, "o", "c")
        assert " copied: " in text_of(app)
        # what a run was trained on stands in its recipe and its tree
        await opened(fake, pilot, *["tab"] * TABS.index("recipe"), "G", other=versioned)
        shown = text_of(app)
        assert "version  faq.jsonl v2 (417 rows; 38 changed, 5 new since v1, of support-r8)" in shown
        assert "other runs have read up to v3" in shown
        assert "the file has changed since: now v3, 431 rows" in shown
        await pressed(pilot, "tab", "tab", within_s=0.2)
        assert "faq.jsonl v2 (417 rows; 38 changed, 5 new since v1, of support-r8)" in text_of(app)
        assert asked(fake, DataOf) == [DataOf("support-r16")]
        await pilot.press("shift+tab", "shift+tab")
        fake.change(old)
        await settled(pilot, 0.5)
        assert "version  faq.jsonl" not in text_of(app)
