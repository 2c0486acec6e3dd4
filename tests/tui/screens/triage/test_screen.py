"""The Triage screen on a real store: the table, a cell's pane, one run by task, the items, and states set by users."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from exported_files import LOST, exported
from triage_fakes import FakeTriage, make_store
from triage_store import add_run, take_in, told_of
from tui_fakes import (
    HOSTILE,
    asked,
    is_clean,
    make_app,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
    typed,
)

from finetop.core.features.export import sql as exports
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import (
    CellAnswer,
    LostItems,
    SetStanding,
    TriageCell,
    TriageRunAnswer,
)
from finetop.core.protocol.events import ExportJudged
from finetop.core.protocol.messages.bisect import LookEarlier
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.request import Ask
from finetop.core.protocol.standing import Standing
from finetop.core.runtime.user import user_name
from finetop.core.store.database import open_store
from finetop.tui.screens.compare.screen import CompareScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.triage.items_screen import ItemsScreen
from finetop.tui.screens.triage.screen import TriageScreen
from finetop.tui.screens.triage.state import TASKS, parse_filter
from finetop.tui.screens.triage.table import columns_of
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

SIZE, LARGE = (80, 24), (120, 40)


@pytest.fixture(scope="module")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triage")
    make_store(folder).close()
    return folder / "finetop.duckdb"


@pytest.fixture
def store(made_store: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    shutil.copy(made_store, tmp_path / "finetop.duckdb")
    opened = open_store(tmp_path / "finetop.duckdb")
    yield opened
    opened.close()


async def opened(pilot: Any, *keys: str) -> None:
    await settled(pilot)
    await typed(pilot, "2", *keys)
    await settled(pilot, 0.1)


PICTURES = {
    "table-80x24": (SIZE, []),
    "table-120x40": (LARGE, ["right"]),
    "turned-80x24": (SIZE, ["v", "down"]),
    "accept-80x24": (SIZE, ["A", *"fine"]),
    "items-80x24": (SIZE, ["right", "enter", "escape"]),
    "item-80x24": (SIZE, ["right", "enter"]),
    "item-120x40": (LARGE, ["right", "enter"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(pictured: Any, store: duckdb.DuckDBPyConnection, name: str) -> None:
    size, keys = PICTURES[name]
    assert pictured(make_app(FakeTriage(store)), size, "2", *keys)


@pytest.mark.parametrize(("size", "keys"), [(SIZE, ()), (LARGE, ("right",))])
def test_exported_files_stand_beside_base_and_tuned(
    pictured: Any, store: duckdb.DuckDBPyConnection, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    lost = exported("q2_k", LOST, standing="refused")
    for at, file in enumerate((exported("q8_0", unasked="--no-check", verdict=None), exported(), lost)):
        exports.store_file(store, 1, 1, 1790000000.0 + at, ExportJudged(file))
    assert pictured(make_app(FakeTriage(store)), size, "2", *keys)


async def test_a_verdict_of_other_weights_says_so_above_its_numbers(store: duckdb.DuckDBPyConnection) -> None:
    class Changed(FakeTriage):
        async def ask(self, ask: Ask) -> Any:
            answer = await super().ask(ask)
            is_of_weights = isinstance(answer, CellAnswer | TriageRunAnswer)
            return msgspec.structs.replace(answer, weights_now="changed") if is_of_weights else answer

    store.execute("INSERT INTO checkpoints VALUES (1, 1, 1200, 'c', 1, 'full', 0)")
    fake = Changed(store)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        lines = text_of(app).splitlines()
        said = next(
            at for at, line in enumerate(lines) if "! the weights of support-full-1e-4 changed" in line
        )
        assert "✗ REGRESSED" in lines[said + 2]
        await pressed(pilot, "f")
        (order,) = asked(fake, Check)
        assert order.more is None, "they are checked; there are no more items of a check of others"


def test_what_does_not_fit_is_counted_and_the_cursor_is_always_in_view() -> None:
    tasks = [f"task-{at}" for at in range(12)]
    for width in (60, 80, 120, 200):
        for cursor in range(TASKS + len(tasks)):
            columns = columns_of(width, tasks, cursor)
            assert columns.shown + columns.hidden == len(tasks)
            at = max(0, cursor - TASKS)
            assert columns.first <= at < columns.first + columns.shown
            used = 4 + columns.name + columns.cell * (1 + columns.shown) + 5 * bool(columns.hidden) + 1
            assert used + columns.state <= width


async def test_a_lost_item_is_found_by_its_words_and_the_checkpoint_that_lost_it_by_s(
    store: duckdb.DuckDBPyConnection,
) -> None:
    fake = FakeTriage(store)
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "colon", *"what is 2 +", within_s=0.3)
        assert row_with(app, "item").split()[:2] == ["▸", "item"], text_of(app)
        await pressed(pilot, "enter", within_s=0.2)
        assert isinstance(app.screen, ItemsScreen)
        assert "What is 2 +" in row_with(app, "▸")
        assert app.screen.items.filter == "lost what is 2 +"
        await pressed(pilot, "escape", "escape")
        assert not isinstance(app.screen, ItemsScreen)
        # s finds the checkpoint that lost it and names the price first
        await opened(pilot, "s")
        shown = text_of(app).splitlines()
        assert "Which of 7 checkpoints lost it?  3 checks at most, about 2 min" in shown[-2]
        assert "y find it   o one check   esc cancel" in shown[-1]
        assert asked(fake, LookEarlier) == []
        await pressed(pilot, "y")
        assert asked(fake, LookEarlier) == [LookEarlier("support-full-1e-4", on=True)]
        assert "step 900 of support-full-1e-4 is looked at." in text_of(app)


@pytest.mark.slow
async def test_the_pane_follows_the_cursor_which_goes_to_every_task_and_turned_to_every_run(
    store: duckdb.DuckDBPyConnection,
) -> None:
    async with shown_app(make_app(FakeTriage(store))) as (app, pilot):
        await opened(pilot, "right")
        await pressed(pilot, "down", "right", within_s=0.1)
        assert "knowledge in sql-full-2e-5" in text_of(app)
        await pressed(pilot, "left", "left", "left")
        assert row_with(app, " next ").split()[:2] == ["next", "enter"]
        await pressed(pilot, "enter")
        assert isinstance(app.screen, RunScreen)
        await typed(pilot, "escape", "g", "right")
        seen = set()  # the cursor goes to every task
        for _ in range(9):
            await pressed(pilot, "right", within_s=0.1)
            seen.add(row_with(app, " in support-full-1e-4").split()[1])
        assert seen == {"arith", "knowledge", "lambada", "arc", "hellaswag", "piqa", "openbookqa"}
        await typed(pilot, "v", "down", "right", within_s=0.1)  # turned, right goes to the next run
        assert text_of(app).splitlines()[1].split()[0] == "sql-full-2e-5"
        await pressed(pilot, "v")
        assert "▸ ✗ sql-full-2e-5" in text_of(app)


@pytest.mark.slow
async def test_it_says_which_rows_are_in_view_if_not_all_are(tmp_path: Path) -> None:
    runs = {f"run-{at}": (at % 5, 0, 0, 0, 0, 0, 0) for at in range(14)}
    connection = make_store(tmp_path, runs, steps=False)
    async with shown_app(make_app(FakeTriage(connection)), SIZE) as (app, pilot):
        await opened(pilot)
        table = app.screen.query_one(Table)
        assert f" 1-{table.rows} of 14 " in text_of(app).splitlines()[1]
        await pressed(pilot, "G")
        await settled(pilot)
        assert f" {15 - table.rows}-14 of 14 " in text_of(app).splitlines()[1]
    connection.close()


@pytest.mark.slow
async def test_a_reason_is_typed_the_badge_falls_u_takes_it_back_and_a_run_is_owned_fixed_and_noted(
    store: duckdb.DuckDBPyConnection,
) -> None:
    fake = FakeTriage(store)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "A", "x", "escape", "A", "enter")
        assert not asked(fake, SetStanding), "esc leaves a reason unsaid, and no reason is none"
        await typed(pilot, "escape", "A", *"for the paper", "enter")
        assert "support-full-1e-4 is accepted: for the paper" in text_of(app)
        (request,) = asked(fake, SetStanding)
        assert (request.standing.state, request.standing.by, request.task) == ("accepted", user_name(), "")
        await settled(pilot, 0.1)
        rows = text_of(app).splitlines()
        assert "2 Triage 2" in rows[0]
        assert rows[4].split()[-1] == "accepted", "it stays where it was"
        assert "o re-sorts" in rows[1]
        await pressed(pilot, "o", within_s=0.1)
        assert "sql-full-2e-5" in text_of(app).splitlines()[4]
        await pressed(pilot, "u", within_s=0.1)
        assert "2 Triage 3" in text_of(app).splitlines()[0]
        assert asked(fake, SetStanding)[-1].standing == Standing()
        # O owns it and gives it back, F names the fix, t notes
        await pressed(pilot, "O", within_s=0.1)
        assert row_with(app, "▸").endswith(f"owner {user_name()}")
        await pressed(pilot, "O", within_s=0.1)
        assert row_with(app, "▸").endswith("NEW")
        await pressed(pilot, "F", *"support-r16", "enter", within_s=0.1)
        assert "fixed by" in row_with(app, "▸")
        await pressed(pilot, "t", *"ask Ben", "enter", within_s=0.1)
        assert "note   ask Ben" in text_of(app)
        await pressed(pilot, "F", *"sql-full-2e-5", "enter")
        assert "has regressed itself" in text_of(app)


async def test_items_begin_with_their_kinds_and_a_filter_sifts_them(store: duckdb.DuckDBPyConnection) -> None:
    async with shown_app(make_app(FakeTriage(store)), (100, 30)) as (app, pilot):
        await opened(pilot, "right", "enter", "escape")
        assert isinstance(app.screen, ItemsScreen)
        rows = [row.strip() for row in text_of(app).splitlines()]
        assert rows[1].startswith("arith in support-full-1e-4   9 lost, 1 won")
        parts = ["kinds of items", "lost, most certain first", "won"]
        assert [row for row in rows if row in parts] == parts
        assert app.screen.item_at(app.screen.query_one(Table).cursor) is not None, "on what was read"
        await pressed(pilot, "g", "enter", within_s=0.1)
        first = row_with(app, "match")
        assert "kind:two+digits: 5 match" in first or "kind:carry: 5 match" in first
        await pressed(pilot, "escape", "slash", *"runs>1", "enter", within_s=0.1)
        assert "runs>1: 1 match" in row_with(app, "match")
        await pressed(pilot, "escape", "escape")
        assert isinstance(app.screen, TriageScreen)
        # items are gone through, and esc leads back to the last one
        await typed(pilot, "enter", "down")  # one key leads from a cell to an answer
        assert "arith > carry > item 2 of 10, lost" in text_of(app)
        await pressed(pilot, "G")
        assert "item 10 of 10, won" in text_of(app)
        assert not [words for words in ("also lost", "in no other run", "are lost") if words in text_of(app)]
        await pressed(pilot, "escape")
        assert isinstance(app.screen, ItemsScreen)
        assert app.screen.item_at(app.screen.query_one(Table).cursor) == app.screen.items.items[9]


def test_a_filter_of_items_is_read_word_by_word() -> None:
    wanted = LostItems("r", "t", "two digits", "lost", 1.5, 3, "7 + 5")
    assert parse_filter("r", "t", "lost kind:two+digits margin>1.5 runs>2 7 + 5") == wanted
    for odd in ("margin>x", "runs>", "kind:", "margin>-1", "margin>nan"):
        assert parse_filter("r", "t", odd) == LostItems("r", "t", text=odd)


async def test_f_goes_on_with_more_items_of_a_task_or_of_all(store: duckdb.DuckDBPyConnection) -> None:
    more = '{"seconds": 70, "items_scored": 140}'
    store.execute("UPDATE checks SET result = json_merge_patch(result, ?)", [more])
    store.execute("INSERT INTO checkpoints VALUES (1, 1, 1200, 'c', 1, 'full', 0)")
    fake = FakeTriage(store)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot, "right", "f")
        shown = text_of(app).splitlines()
        assert "Check the remaining 560 items?  Same verdict, tighter interval." in shown[-2]
        assert "y 80 of arith, about 40 s   a all 560, about 4 min   esc cancel" in shown[-1]
        await pressed(pilot, "y")
        assert asked(fake, Check) == [Check("support-full-1e-4", more=["arith"])]
        await pressed(pilot, "left", "f")
        assert "y all 560, about 4 min   esc cancel" in text_of(app)
        await pressed(pilot, "y")
        assert asked(fake, Check)[-1] == Check("support-full-1e-4", more=[])


async def test_c_compares_a_filter_hides_runs_and_another_screen_leads_to_one(
    store: duckdb.DuckDBPyConnection,
) -> None:
    async with shown_app(make_app(FakeTriage(store))) as (app, pilot):
        await opened(pilot, "c")
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.state.names == ["support-full-1e-4", "support-r16"], "with a run that is ok"
        await pressed(pilot, "escape")
        await pressed(pilot, "space", "space", "c")
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.state.names == ["support-full-1e-4", "sql-full-2e-5"], "what is marked"
        await pressed(pilot, "escape")
        assert "•✗ support-full-1e-4" in text_of(app)
        await pressed(pilot, "slash", *"sql", "enter", within_s=0.1)
        assert "/ sql: 1 match" in text_of(app)
        assert "sql-full-2e-5" in row_with(app, "▸")
        await pressed(pilot, "slash", *"zzz", "enter", within_s=0.1)
        assert "0 of 4 checked runs match" in text_of(app)
        await pressed(pilot, "escape", within_s=0.1)
        assert "support-full-1e-4" in text_of(app)
        await pressed(pilot, "1")
        app.open_triage("sql-full-2e-5")
        await settled(pilot, 0.2)
        assert isinstance(app.screen, TriageScreen)
        assert "sql-full-2e-5" in row_with(app, "▸")


async def test_nothing_to_triage_says_so_and_checks_what_has_no_check(tmp_path: Path) -> None:
    connection = make_store(tmp_path, {"support-r16": (0,) * 7}, steps=False)
    for at in (2, 3):
        add_run(connection, f"support-r{at}")
        connection.execute("INSERT INTO checkpoints VALUES (?, ?, 9, 'c', 1, 'adapter', 0)", [at, at])
    fake = FakeTriage(connection)
    async with shown_app(make_app(fake)) as (app, pilot):
        await opened(pilot)
        head = text_of(app).splitlines()[1]
        assert head.startswith(" Nothing to triage: no regression in 1 checked run; last check")
        assert "or  f  check 2 finished runs that were never checked" in text_of(app)
        await pressed(pilot, "f")
        assert "Check 2 runs?  support-r3, support-r2" in text_of(app)
        await pressed(pilot, "y")
        assert [ask.run for ask in asked(fake, Check)] == ["support-r3", "support-r2"]
    connection.close()


async def test_without_any_check_it_says_what_to_do(tmp_path: Path) -> None:
    connection = make_store(tmp_path, {}, steps=False)
    add_run(connection, "support-r2")
    connection.execute("INSERT INTO checkpoints VALUES (1, 1, 9, 'c', 1, 'adapter', 0)")
    async with shown_app(make_app(FakeTriage(connection))) as (app, pilot):
        await opened(pilot)
        text = text_of(app)
        assert "No run has been checked yet. f checks one." in text
        assert "1 finished run has no check:  support-r2" in text
        assert "next  f  check support-r2" in text
    connection.close()


async def test_the_footer_names_its_keys_and_a_narrow_terminal_shows_one_run_turned(
    store: duckdb.DuckDBPyConnection,
) -> None:
    async with shown_app(make_app(FakeTriage(store)), (160, 30)) as (app, pilot):
        await opened(pilot)
        footer = text_of(app).splitlines()[-1]
        labels = (
            "←→↑↓ cell, enter answers, A accept, O assign to me, v one run, s bisect, / filter, F fixed by"
        )
        for words in f"{labels}, t note, f more items, ? keys".split(", "):
            assert words in footer
        assert "o sort" not in footer, "nothing is new"
        # a narrow terminal shows one run, turned
        await pilot.resize_terminal(60, 20)
        await settled(pilot, 0.1)
        rows = text_of(app).splitlines()
        assert rows[3].split()[:3] == ["▸", "✗", "all"]
        assert all(len(row) <= 60 for row in rows)
        assert "? keys" in rows[-1]


async def test_hostile_texts_draw_no_control_characters(tmp_path: Path) -> None:
    connection = make_store(tmp_path, {}, steps=False)  # in which every text is hostile
    run, job = add_run(connection, HOSTILE)
    lost = told_of({HOSTILE: (9, 1)}, 1200, suite=HOSTILE, reason=HOSTILE)
    take_in(connection, job, tmp_path, *lost)
    connection.execute("UPDATE item_scores SET answer = ?", [HOSTILE])
    escaped = repr(HOSTILE)[1:-1].replace("\\x", "\\u00")
    connection.execute("UPDATE checks SET result = replace(result, 'carry', ?)", [escaped])
    fake = FakeTriage(connection)
    standing = Standing("accepted", HOSTILE, reason=HOSTILE, note=HOSTILE)
    triage.set_standing(fake._own, SetStanding(str(run), "", standing))
    async with shown_app(make_app(fake), (100, 30)) as (app, pilot):
        await opened(pilot)
        for keys in ([], ["right"], ["v"], ["v", "enter"], ["down", "down", "enter"], ["escape", "escape"]):
            await typed(pilot, *keys)
            assert is_clean(app)
    connection.close()


def test_a_cell_is_as_short_as_it_travels() -> None:
    assert msgspec.json.encode(TriageCell(22.0, "lost")) == b'[22.0,"lost"]'
