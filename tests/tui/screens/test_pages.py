"""The help: each key with its full text at every width, and found by a search."""

from __future__ import annotations

import pytest
from tui_fakes import FakeSupervisor, make_app, mixed_rows, pressed, settled, shown_app

from finetop.tui.keys import Key, moves, paired
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.pages import KeysPage, key_rows
from finetop.tui.screens.queue.screen import QueueScreen
from finetop.tui.screens.remedies.screen import RemediesScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.screens.triage.screen import TriageScreen
from finetop.tui.text import line_width
from finetop.tui.widgets.table import Table

SCREENS = (RunsScreen, RunScreen, TriageScreen, QueueScreen, LaunchScreen, RemediesScreen, CompareScreen)


@pytest.mark.slow
async def test_no_line_of_the_help_is_cut_and_both_keys_open_and_close_it() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()))) as (app, pilot):
        for width in (60, 80, 120, 200):
            await pilot.resize_terminal(width, 24)
            for screen in SCREENS:
                await app.push_screen(KeysPage(screen.TITLE, screen.KEYS))
                await settled(pilot)
                page = app.screen
                assert isinstance(page, KeysPage)
                lines = [page.draw_row(at, False, width - 2) for at in range(page.query_one(Table).count)]
                assert all(line_width(line) <= min(width - 2, 118) for line in lines), screen
                words = " ".join(" ".join(text for text, _ in line) for line in lines)
                for key in screen.KEYS:
                    for word in (*key.about.split(), *key.command.split()):
                        assert word in words, (screen, key.about, word)
                await app.pop_screen()
        for key_name in ("question_mark", "f1"):
            await pressed(pilot, key_name)
            assert isinstance(app.screen, KeysPage)
            await pressed(pilot, key_name)
            assert isinstance(app.screen, RunsScreen)


async def test_the_helps_commands_begin_in_one_column_beside_what_they_do_and_a_searchs_keys_come_last() -> (
    None
):
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), (120, 40)) as (app, pilot):
        for screen in SCREENS:
            await app.push_screen(page := KeysPage(screen.TITLE, screen.KEYS))
            await settled(pilot)
            lines = [page.draw_row(at, False, 118) for at in range(page.query_one(Table).count)]
            commands = [line for line in lines if line[-1][0].startswith("finetop ")]
            starts = {line_width(line[:-1]) for line in commands if line_width(line) < 117}
            ends = [line_width(line[:3]) for line in commands if len(line) > 3]
            assert starts == {max(ends) + 3}, "but a long command, which ends at the edge"
            about = [line[2][0] for line in lines if len(line) > 2]
            assert not about[0].startswith("after /"), screen
            await app.pop_screen()


def test_a_key_takes_the_rows_that_it_needs_and_its_command_is_never_cut() -> None:
    key = Key("f", "", "check", "check for forgetting, or check the remaining items", "finetop check RUN")
    (single,) = key_rows(key, 100)
    assert (single.text, single.command, single.is_first) == (key.about, key.command, True)
    rows = key_rows(key, 50)
    assert " ".join(row.text for row in rows).split() == key.about.split()
    assert [row.is_first for row in rows] == [True] + [False] * (len(rows) - 1)
    assert rows[-1].command == key.command


def test_letters_stand_beside_the_arrows_that_do_the_same() -> None:
    signs = [key.shown for key in paired(moves())]
    assert signs == ["↓ ↑ j k", "pgdn pgup", "ctrl+d ctrl+u", "g G"]
