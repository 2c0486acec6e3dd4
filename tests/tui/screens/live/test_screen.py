"""The Live screen: a tile for each running job, its cursor, and the text when nothing runs."""

from __future__ import annotations

from rich.cells import cell_len
from textual.geometry import Size
from tui_fakes import (
    NOW,
    FakeSupervisor,
    make_app,
    make_check,
    make_row,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.protocol.runs import Finished, Running, SideJob, Tried
from finetop.tui.screens.live.screen import LiveScreen, shape_of, tile_lines

DONE = Finished(NOW - 6000, NOW - 4000)


async def test_what_runs_is_shown_as_tiles_and_enter_opens_the_one_under_the_cursor() -> None:
    trying = Running(NOW - 60, "half-way: scoring tuned", 212, 336, "items", 40.0, per_s=3.1)
    others = [SideJob("remedy", trying, Tried(2, 8, 240.0))]
    hot = make_row(21, "hot", DONE, check=make_check(), others=others, gpus="GPU 1")
    cold = make_row(
        22, "cold", DONE, checking=Running(NOW - 9, "scoring tuned", 1200, 1819, "items", 180.0, per_s=3.44)
    )
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        for width in (60, 80, 120, 200):
            await pilot.resize_terminal(width, 24)
            await pressed(pilot, "d")
            screen = app.screen
            assert isinstance(screen, LiveScreen)
            text = text_of(app)
            assert " 3 trainings, 1 check" in text
            assert "support-full-1e-4" not in text, "that has ended"
            assert "820 of 1,200 █" in text and "6 min left" in text
            assert "loading model, 3.1 of 8 GB" in text
            assert "GPU" in text or "tok/s" in text
            await pressed(pilot, "right")
            assert screen.to_copy() in row_with(app, "▸")
            assert f"watch {screen.to_copy()}" in text_of(app)
            await pressed(pilot, "escape")
            assert not isinstance(app.screen, LiveScreen)
        screen.redraw()  # what comes late is not drawn on a screen that was left
        screen.on_resize()
        await settled(pilot)
        assert app.screen is not screen and app.is_running
        # jobs beside a training have a tile each with how far and how fast
        fake.change([hot, cold])
        app.show_runs()
        await settled(pilot)
        await pressed(pilot, "d")
        text = text_of(app)
        assert " 1 check, 1 remedy job" in text or " 1 remedy job, 1 check" in text
        assert "remedies 2 of 8 █" in text and "4 min left" in text
        assert "212 of 336 items, 3.1 items/s, GPU 1" in text
        assert "check 1,200 of 1,819" in text and "3 min left" in text and "3.44 items/s" in text
        assert "watch the remedies of hot" in text
        await pressed(pilot, "enter")
        assert app.screen.title == "Remedies"
        fake.change([])
        app.action_live()
        await settled(pilot)
        assert " Nothing is running." in text_of(app)


async def test_where_all_tiles_have_room_each_run_has_a_chart() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), (200, 50)) as (app, pilot):
        await pressed(pilot, "d")
        assert row_with(app, "step 0 ").count("step 0 ") == 2 and " 9,000 " in row_with(app, "step 0 ")
        await pressed(pilot, "down")
        assert "watch support-r32" in text_of(app)
    for number, size, shape in (
        (1, (80, 24), (1, 80, 20)), (4, (120, 36), (2, 59, 18)), (4, (80, 20), (2, 39, 5)), (40, (200, 46), (5, 39, 5)),
    ):  # fmt: skip
        assert shape_of(number, Size(*size)) == shape


def test_a_tile_is_never_wider_than_its_place_and_names_the_gpus_that_its_run_has() -> None:
    going = Running(NOW - 9, "training", 5, 10**9)
    long = make_row(1, "名" * 60, going, step=123_456, steps=10**9, left_s=9e9)
    big = make_row(1, "big", going, step=5, steps=9, metrics={"gpu_util": 87.0}, gpus="GPU 0, 3")
    for width in (38, 45, 80):
        for line in tile_lines(long, "▁" * 16, width=width, now=NOW, has_cursor=True):
            assert cell_len("".join(text for text, _ in line)) <= width
    tile = tile_lines(big, "", width=60, now=NOW, has_cursor=False)
    assert "GPU 0, 3 at 87 %" in "\n".join("".join(text for text, _ in line) for line in tile)
