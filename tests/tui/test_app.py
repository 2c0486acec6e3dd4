"""The app around its screens: loading, the connection, help, commands, messages, leaving."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from textual import events
from tui_fakes import (
    NOW,
    FakeSupervisor,
    make_app,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.protocol.messages.session import ChangesAnswer, HelloAnswer
from finetop.core.runtime.home import Home
from finetop.core.wording.durations import long_span, short_span
from finetop.core.wording.units import value
from finetop.tui.connection.listener import follow
from finetop.tui.keys import paired
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.pages import KeysPage
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.text import cut_middle, of_steps
from finetop.tui.theme import Look, to_look
from finetop.tui.widgets.frame import Bottom
from finetop.tui.widgets.lines import to_strip
from finetop.tui.widgets.table import Table

SIZE = (80, 24)
LATE = ("yaml", "finetop.core.recipe.load", "finetop.core.recipe.schema", "textual.widgets._data_table",
        "textual.widgets._markdown", "markdown_it", "finetop.tui.screens.launch.screen")  # fmt: skip
HEAVY = ("torch", "duckdb", "transformers", "datasets", "trl", "peft", "pandas", "pyarrow", "numpy", "scipy")


def test_starting_loads_no_recipes_and_no_large_widgets_and_no_screen_anything_heavy() -> None:
    code = (
        f"import sys, finetop.tui.app\nprint([name for name in {LATE!r} if name in sys.modules])\n"
        "import finetop.tui.screens.launch.screen, finetop.tui.screens.pages\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


async def test_a_lost_supervisor_is_said_on_every_screen_and_comes_back_by_itself() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        before = text_of(app).splitlines()[:12]
        fake.leave()
        await settled(pilot, 0.1)
        words = "✗ NO SUPERVISOR since 14:22, numbers are from then. Runs keep going."
        assert words in text_of(app)
        assert "next  R  restart it" in text_of(app)
        assert text_of(app).splitlines()[:12] == before
        await pressed(pilot, "4")
        assert words in text_of(app)
        await pressed(pilot, "question_mark")
        assert words in text_of(app)
        await pilot.press("escape", "1")
        fake.is_gone = False
        await settled(pilot, 0.2)
        assert "NO SUPERVISOR" not in text_of(app)


async def test_the_first_start_brings_a_supervisor_up_and_keys_never_wait_for_it() -> None:
    fake = FakeSupervisor(mixed_rows())
    fake.is_gone = True
    may_start = threading.Event()

    def start(home: Home) -> None:
        may_start.wait()
        fake.is_gone = False

    app = make_app(fake, start=start)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot, but_threads=True)
        assert "loading …" in text_of(app)
        await pilot.press("question_mark")  # the app stays responsive during a slow start
        await settled(pilot, but_threads=True)
        assert isinstance(app.screen, KeysPage)
        await pilot.press("escape")
        may_start.set()
        await settled(pilot, 0.3)
        assert "support-full-1e-4" in text_of(app)
        assert "NO SUPERVISOR" not in text_of(app)


async def test_a_supervisor_that_will_not_start_says_why_and_R_tries_again() -> None:
    fake = FakeSupervisor(mixed_rows())
    fake.is_gone = True
    tries = []

    def start(home: Home) -> None:
        tries.append(home)
        raise NoSupervisor("the disk is full.", hint="Make room.")

    app = make_app(fake, start=start)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot, 0.1)
        assert "NO SUPERVISOR" in text_of(app)
        await pressed(pilot, "R", within_s=0.1)
        assert len(tries) == 2
        assert "the disk is full. Make room." in text_of(app)


class Hears:
    """Records what the connection reports."""

    def __init__(self) -> None:
        self.revisions: list[int] = []

    def connected(self, hello: HelloAnswer) -> None: ...

    def changed(self, answer: ChangesAnswer) -> None:
        self.revisions.append(answer.revision)

    def lost(self) -> None: ...

    def refused(self, error: FinetopError) -> None: ...


async def test_changes_are_told_at_most_once_a_pace() -> None:
    fake, hears = FakeSupervisor(mixed_rows()), Hears()
    paused: asyncio.Queue[float] = asyncio.Queue()
    is_over: asyncio.Queue[None] = asyncio.Queue()

    async def pause(seconds: float) -> None:
        paused.put_nowait(seconds)
        await is_over.get()

    following = asyncio.create_task(follow(fake, hears, lambda: None, 0.2, pause))
    expected = []
    for _ in range(3):
        assert await paused.get() == 0.2
        expected.append(fake.revision)
        for _ in range(50):
            fake.change()
            await asyncio.sleep(0)
        assert hears.revisions == expected
        is_over.put_nowait(None)
    following.cancel()


async def test_places_by_number_help_commands_and_the_palette() -> None:
    app = make_app(FakeSupervisor(mixed_rows()))
    async with shown_app(app, (50, 12)) as (app, pilot):
        assert "too small: 50x12, needs 60x20" in text_of(app)
        assert "enter open" in text_of(app).splitlines()[-1], "the keys stay"
        await pilot.resize_terminal(80, 40)
        await settled(pilot)
        assert "too small" not in text_of(app) and "REGRESSED" in text_of(app)
        for segment in (segment for strip in app.screen._compositor.render_strips() for segment in strip):
            colour = segment.style.bgcolor if segment.style is not None else None
            assert colour is None or colour.is_default, f"the background is painted: {segment}"
        await pressed(pilot, "question_mark")
        await pressed(pilot, "G")
        assert "find a command, screen, run or theme by name" in text_of(app)
        await pressed(pilot, "escape", "4")
        assert isinstance(app.screen, LaunchScreen)
        app._now = lambda: NOW + 60
        app.redraw_frame()
        await pressed(pilot, "1")
        assert isinstance(app.screen, RunsScreen)
        assert text_of(app).splitlines()[0].endswith("14:23"), "the clock is right on every screen"
        await pressed(pilot, "colon", *"forgetting", "enter")
        assert isinstance(app.screen, RunsScreen), "a command acts on the screen it was called from"
        assert "check of support-full-1e-4" in text_of(app)
        await pressed(pilot, "colon", *"launch", "enter")
        assert isinstance(app.screen, LaunchScreen)
        await pressed(pilot, "ctrl+p", "escape")
        assert isinstance(app.screen, LaunchScreen)
        await pressed(pilot, "1")
        await pressed(pilot, "ctrl+p", *"support-r16", within_s=0.3)
        assert row_with(app, "▸").split()[1:5] == ["run", "support-r16", "ok", "-0.1"]
        await pressed(pilot, "ctrl+u", *"eval_loss", within_s=0.3)
        assert "metric" in row_with(app, "sort runs by this metric")
        await pressed(pilot, "ctrl+u", *"arith", within_s=0.3)
        assert row_with(app, " in support").split()[1:3] == ["task", "arith"]
        await pressed(pilot, "ctrl+u", *"zzz", within_s=0.3)
        assert "nothing matches 'zzz'" in text_of(app)
        await pressed(pilot, "ctrl+u", *"dataset", within_s=0.3)
        assert "nothing matches 'dataset' here; in a shell: finetop data" in text_of(app)
        await pressed(pilot, "ctrl+u", *"qlora", within_s=0.3)
        assert "recipe" in row_with(app, "qlora")
        await pressed(pilot, "enter", within_s=0.3)
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen.state.bases[app.screen.state.base_at].title == "qlora"


async def test_messages_stay_until_the_next_key_the_mouse_goes_places_and_leaving_says_what_goes_on() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()))) as (app, pilot):
        app.say("first")
        app.say("second", "red")
        await settled(pilot, 0.3)
        assert text_of(app).splitlines()[-2] == " second"
        await pressed(pilot, "j")
        assert "second" not in text_of(app)
        await pressed(pilot, "colon", *"messages", "enter")
        rows = text_of(app).splitlines()
        assert "2 messages" in rows[1]
        assert "second" in rows[3]
        assert "first" in rows[4]
        await pressed(pilot, "escape")
        await pressed(pilot, "Z")
        assert " Z does nothing here. ? lists the keys." in text_of(app)
        await pressed(pilot, "s")
        assert " s does nothing here. S: stop after a checkpoint (asks)." in text_of(app)
        await pressed(pilot, "j")
        assert "does nothing" not in text_of(app)
        at = text_of(app).splitlines()[0].index("Launch")
        await pilot.click(offset=(at, 0))
        await settled(pilot)
        assert isinstance(app.screen, LaunchScreen)
        await pressed(pilot, "1")
        at = text_of(app).splitlines()[-1].index("filter")
        await pilot.click(offset=(at, 23))
        await settled(pilot)
        assert text_of(app).splitlines()[-2].startswith(" /    ")
        await pressed(pilot, "escape")
        await pressed(pilot, "ctrl+c")
        assert "q quits." in text_of(app)
        await pressed(pilot, "q")
    assert app.return_value == "3 trainings, 1 check keep running. To return: finetop"


async def test_keys_move_through_a_list_that_has_no_height_yet() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), (80, 3)) as (app, pilot):
        table = app.screen.query_one(Table)
        assert table.rows_in_view() == (0, 0)
        await pressed(pilot, "j", "space")
        assert table.cursor == 2


def test_texts_are_cut_clean_and_ascii_keeps_every_cell_in_its_place() -> None:
    text = "▸ ✗ a…b ▁▂▃▄▅▆▇█ ● ○ ■ ─━│ ★☆ ⣿ 日本"
    drawn = to_look(Look(ascii=True), text)
    assert drawn.isascii()
    assert drawn == "> x a~b ..::||## * o # -#| @% : ????"
    # a strip is exactly as wide, and clean
    strip = to_strip((("日本\x1b[31mx", "red"), ("y" * 50, "")), 20, Look())
    assert strip.cell_length == sum(segment.cell_length for segment in strip) == 20
    assert strip.text.isprintable()
    assert strip.text.endswith("…")
    # words are short, and numbers are never cut
    assert cut_middle("qwen3-8b-support-tone-lr2e-5-s2", 22) == "qwen3-8b-su…-lr2e-5-s2"
    assert of_steps(820, 1200) == "820/1,200"
    assert of_steps(123_456, 120_000_000) == "123k/120M"
    numbers = (0.9821, 12.345, 8.1e-5, 0.0, None)
    assert [value(number) for number in numbers] == ["0.982", "12.35", "8.1e-5", "0.000", "-"]
    assert [short_span(seconds) for seconds in (5, 380, 10_800, 190_000)] == ["5 s", "6 m", "3 h", "2 d"]
    assert long_span(9600) == "2 h 40 min"


def test_outside_a_terminal_it_says_so() -> None:
    imports = "from finetop.tui.main import open_app; from finetop.core.runtime.home import find_home"
    code = f"{imports}; open_app([find_home('/x')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "the app needs a terminal." in done.stderr
    assert not Path("/x").exists()


@pytest.mark.slow
async def test_keys_that_come_at_once_go_to_the_screen_that_each_is_for(tmp_path: Path) -> None:
    keys = ["question_mark", *"1234earyjw", "escape", "enter", "colon", "slash"]
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path)) as (app, pilot):
        for first in ("2", "3", "4", "question_mark", "a", "r"):
            draw = random.Random(first)
            await pressed(pilot, "escape", "escape", "1")
            for burst in [["e", first], *(draw.choices(keys, k=6) for _ in range(6))]:
                for key in burst:
                    app.post_message(events.Key(key, key if len(key) == 1 else None))
                await settled(pilot)
            assert app.fault is None


async def test_a_key_waits_for_an_app_that_is_slow_to_obey_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make_app(FakeSupervisor(mixed_rows()))
    obey = app._check_bindings

    async def slow(key: str, priority: bool = False) -> bool:
        if not priority:
            await asyncio.sleep(0.05)
        return await obey(key, priority)

    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        monkeypatch.setattr(app, "_check_bindings", slow)
        signs = {"question_mark": "?", "escape": None, "slash": "/"}
        for name, character in [*signs.items(), *((letter, letter) for letter in "all")]:
            key = events.Key(name, character)
            key.set_sender(app)  # like a terminal's key
            app.post_message(key)
        await settled(pilot)
        assert app.screen.query_one(Bottom).question.entry.text == "all"


async def test_a_fault_of_the_app_is_one_line_and_its_traceback_is_in_a_file(tmp_path: Path) -> None:
    app = make_app(FakeSupervisor(mixed_rows()), tmp_path)
    app.homes = (Home(tmp_path),)

    def broken() -> None:
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=SIZE) as pilot:
            await settled(pilot)
            app.call_later(broken)
            await settled(pilot)
    assert app.fault is not None and app.fault.exit_code == 70
    assert "\n" not in str(app.fault) and "on purpose" in str(app.fault)
    assert "in broken" in app.fault_file.read_text()


def test_the_help_lists_two_ways_of_a_key_once() -> None:
    rows = [key.shown for key in paired(RunScreen.KEYS)]
    assert "+ -" in rows and "-" not in rows
    assert "↓ ↑ j k" in rows and "pgdn pgup" in rows and "⇧← ⇧→" in rows
