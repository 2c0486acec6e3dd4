"""The Runs screen: each run's status, its keys, and a cursor that stays on its run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from tui_fakes import (
    NOW,
    FakeSupervisor,
    asked,
    make_app,
    make_check,
    make_row,
    many_rows,
    mixed_rows,
    pressed,
    row_with,
    settled,
    shown_app,
    text_of,
)

from finetop.core.protocol.filter_match import holds
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.notes import Note, Tag
from finetop.core.protocol.messages.queue import Kill, Pause, Release, Retry, Stop
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.messages.trash import Restore
from finetop.core.protocol.run_filter import KEYS, TITLES, parse
from finetop.core.protocol.runs import Failed, Finished, Lost, Queued, Running, SideJob, Stopped, Tried
from finetop.core.runtime.home import Home
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.runs import input_lines, row as run_row, state
from finetop.tui.screens.runs.row import COLUMNS, HOST, head_line, needed_width, run_line
from finetop.tui.screens.runs.screen import RunsScreen
from finetop.tui.screens.runs.state import RunList
from finetop.tui.screens.shared.fix import fix_of
from finetop.tui.screens.shared.run_status import next_step
from finetop.tui.widgets.paged_list import CHUNK
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from finetop.tui.app import FinetopApp


def empty_list() -> RunList:
    async def ask(request: Any) -> Any:
        raise AssertionError(request)

    return RunList(ask)


def cursor_row(app: FinetopApp) -> str:
    return row_with(app, "▸")


def test_a_run_that_is_paid_shows_its_reward_in_place_of_the_loss() -> None:
    rewards = {0.25: "r 0.25", 1.0: "r 1.00", -0.25: "r -0.2", 12.4: "r 12.4", -123456.0: "-"}
    for reward, words in rewards.items():
        row = make_row(1, "paid", Running(NOW), metrics={"loss": 0.01, "reward": reward})
        line = "".join(text for text, _ in run_line(empty_list(), row, width=80, now=NOW))
        assert f" {words} " in line
        assert ".01" not in line


async def test_headings_part_the_list_and_columns_come_with_the_width() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), (80, 36)) as (app, pilot):
        rows = text_of(app).splitlines()
        assert rows[1].startswith(" 3 need you   4 running   2 queued   13 total")
        headings = [re.sub(r" +(left|age|time)$", "", row).strip() for row in rows]
        parts = ["needs you", "running", "queued", "done"]
        assert [heading for heading in headings if heading in parts] == parts
        before: set[str] = set()
        for width in (60, 80, 100, 120, 140, 160):
            await pilot.resize_terminal(width, 24)
            await settled(pilot)
            assert all(len(row) <= width for row in text_of(app).splitlines())
            assert "REGRESSED -9.1" in row_with(app, "▸"), "the answer is never pushed out"
            assert "? keys" in text_of(app).splitlines()[-1]
            assert ("1,200/1,200" in cursor_row(app)) == (width >= 80)
            head = set(row_with(app, "did it forget?").split())
            assert before < head or (before == head and width == 160)
            before = head
        # one column says of each part whether it is what is left, or the age
        await pilot.resize_terminal(80, 40)
        await settled(pilot)
        titled = {r.split()[0]: r for r in text_of(app).splitlines() if r.endswith(("left", "age", "time"))}
        assert titled["running"].index("left") + 4 == titled["done"].index("age") + 3
        assert "time" in titled["needs"], "one of them runs"
        assert "left" not in row_with(app, "did it forget?")
        await pressed(pilot, "o", "o")
        assert "time" in row_with(app, "did it forget?")
        await pressed(pilot, "o", "o")
        await pilot.resize_terminal(128, 40)
        await settled(pilot)
        head_row = row_with(app, "did it forget?")
        assert head_row.index("left") < head_row.index("age")
        assert row_with(app, "done").strip("│ ") == "done"
        # a wide pane draws the curve beside the facts
        await pilot.resize_terminal(200, 50)
        await settled(pilot)
        verdict = row_with(app, "REGRESSED  9.1 points lost")
        assert verdict.index("loss 1") >= 100
        assert "step 0" in text_of(app)


async def test_what_a_list_shows_of_runs_that_need_to_be_seen() -> None:
    state = Running(NOW - 800, "training")
    hot = make_row(
        1, "hot", state, step=700, check=make_check(step=600), alarm="drift is over", needs_you=True
    )
    fake = FakeSupervisor([hot])

    async def listed(*rows: Any) -> None:
        fake.change(list(rows))
        app.show_runs()
        await settled(pilot)

    async with shown_app(make_app(fake)) as (app, pilot):
        assert "✗ hot" in cursor_row(app), "it forgets while it trains, which comes before its alarm"
        assert "REGRESSED -9.1 at ste" in cursor_row(app)
        # what runs is in sight under many that need you
        failed = Failed(NOW - 300, "out of memory")
        running = Running(NOW - 800, "training", 820, 1200)
        rows = [make_row(100 + at, f"failed-{at}", failed, needs_you=True) for at in range(23)]
        await listed(*rows, make_row(50, "goes-on", running, step=820, left_s=380.0))
        assert "── running, out of view" in text_of(app)
        assert "820/1,200" in row_with(app, "goes-on") and "6 m" in row_with(app, "goes-on")
        await pressed(pilot, "G")
        assert "out of view" not in text_of(app), "now the list itself shows it"
        # of those the ones that no part above lists come first
        ill = [make_row(200 + at, f"ill-{at}", running, needs_you=True, alarm="spike") for at in range(20)]
        await listed(*rows, *ill, make_row(50, "goes-on", running, step=820, left_s=380.0))
        await pressed(pilot, "g")
        assert "820/1,200" in row_with(app, "goes-on")
        await listed(*rows, make_row(50, "goes-on", running, step=820, left_s=380.0))
        await pressed(pilot, "G")
        assert "goes-on" in cursor_row(app)
        # a suite that all checks share is not said in each row
        await listed(*old_failures(2))
        assert row_with(app, "ended").rstrip().endswith("ok -0.4, arith -22.0")
        check = make_check("ok", 0.4, suite="quick")
        await listed(*old_failures(2), make_row(95, "other", Finished(NOW - 99, NOW - 9), check=check))
        assert "ok -0.4 on core" in row_with(app, "ended")
        # a run that was just queued is found far down, and a new order begins at its top
        await listed(*many_rows(250), make_row(900, "new-one", Queued(1), step=0))
        app.show_runs("new-one")
        await settled(pilot)
        assert "new-one" in cursor_row(app)
        await pressed(pilot, "o")
        assert app.screen.query_one(Table).cursor == 0
        # a run that was killed before it saved is retried and not checked
        await listed(make_row(21, "early", Stopped(NOW - 500, "kill", NOW - 900), step=7, steps=90, saved=0))
        assert "next  T  retry: it starts again" in text_of(app)
        assert "f check" not in text_of(app).splitlines()[-1]
        await pressed(pilot, "T")
        assert Retry("early") in fake.asked


async def test_ten_thousand_runs_are_paged_and_jumped_through() -> None:
    fake = FakeSupervisor(many_rows(10_000))
    async with shown_app(make_app(fake)) as (app, pilot):
        assert "10,000 total" in text_of(app)
        await pilot.press("G")
        assert "run-00000" not in text_of(app)  # the cursor arrives before the data
        await settled(pilot)
        assert "run-09999" in cursor_row(app)
        await pressed(pilot, "pageup", "k", "k")
        assert "run-09984" in cursor_row(app)
        await pressed(pilot, "g")
        assert "run-00000" in cursor_row(app)
        assert sum(ask.limit for ask in asked(fake, Runs)) <= 6 * CHUNK


async def test_a_page_down_finds_its_rows_here_and_costs_no_more_the_more_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeSupervisor(many_rows(3 * CHUNK))
    app = make_app(fake)
    titled: list[int] = []
    real = state.time_title

    def counted(rows: Any) -> str:
        titled.append(1)
        return real(rows)

    for module in (state, run_row):
        monkeypatch.setattr(module, "time_title", counted)
    async with shown_app(app) as (app, pilot):
        table = app.screen.query_one(Table)
        while len(app.screen.runs.pages.rows) == CHUNK:
            await pressed(pilot, "pagedown")
        assert table.rows_in_view()[1] <= CHUNK < len(app.screen.runs.pages.rows)
        asks = len(asked(fake, Runs))
        titled.clear()
        await pressed(pilot, "pagedown")
        assert table.rows_in_view()[1] > CHUNK and len(asked(fake, Runs)) == asks
        assert len(titled) <= 4  # not for each row in view


async def test_nothing_moves_under_the_cursor_until_o(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunsScreen, "LEAST_S", 0.0)
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "j", "j", "j")
        before = text_of(app).splitlines()
        newcomer = make_row(50, "newcomer", Queued(3), step=0, metrics={}, needs_you=True)
        r16 = make_row(4, "support-r16", Running(NOW - 800, "training", 900, 1200), step=900)
        rows = [row for row in fake.rows if row.id != 4]
        fake.change([newcomer, *rows, r16])
        await settled(pilot, 0.2)
        after = text_of(app).splitlines()
        assert "900/1,200" in cursor_row(app)  # its numbers were updated in place
        assert [row[:26] for row in after[2:17]] == [row[:26] for row in before[2:17]]
        assert "newcomer" not in text_of(app)
        assert "o shows 1 new" in after[1]
        await pressed(pilot, "o")
        assert "support-r16" in cursor_row(app)
        await pilot.press("g")
        assert "newcomer" in cursor_row(app)
        assert "o sort: needs you first" in text_of(app)


async def test_without_runs_n_launches_enter_queues_the_demo_and_the_first_run_comes_by_itself() -> None:
    fake = FakeSupervisor([])
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "n")
        assert isinstance(app.screen, LaunchScreen)
        await pressed(pilot, "1")
        await pressed(pilot, "enter", within_s=0.5)
        question = row_with(app, "Train and check two demo runs?")
        assert "min on 2 CPU cores; downloads 0.3 GB." in question
        assert not asked(fake, Submit)
        await pressed(pilot, "y", within_s=0.5)
        assert [ask.name for ask in asked(fake, Submit)] == ["demo-lora", "demo-full-hot"]
        assert "2 runs queued" in text_of(app)
        fake.change(mixed_rows())
        await settled(pilot, 0.3)
        assert "support-full-1e-4" in cursor_row(app)


async def test_check_stop_and_kill_ask_and_a_refusal_is_said() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "S")
        assert "support-full-1e-4 has ended: nothing to stop." in text_of(app)
        await pressed(pilot, "f")
        assert asked(fake, Check) == [Check("support-full-1e-4")]
        assert "check of support-full-1e-4 at step 1,200 queued." in text_of(app)
        await pressed(pilot, "j", "j", "j", "S")
        await pressed(pilot, "j", "x", "escape")  # only y stops
        assert not asked(fake, Stop)
        assert "support-r16" in cursor_row(app)
        await pressed(pilot, "S", "y")
        assert asked(fake, Stop) == [Stop("support-r16")]
        assert "support-r16 is being ended." in text_of(app)
        await pressed(pilot, "k")
        assert "is being ended" not in text_of(app)
        await pressed(pilot, "j", "K")
        assert "Kill support-r16?  820 steps lost: nothing is saved." in text_of(app)
        await pressed(pilot, "y")
        assert asked(fake, Kill) == [Kill("support-r16")]
        await pressed(pilot, "j", "j", "j", "K")
        assert "Remove support-r64 from the queue?" in text_of(app)
        await pressed(pilot, "y")
        assert asked(fake, Stop)[1:] == [Stop("support-r64")]
        fake.rows = []
        await pressed(pilot, "n")  # a run that has been removed meanwhile
        assert "there is no run support-r64." in text_of(app)


async def test_P_pauses_or_resumes_the_pane_follows_the_cursor_and_T_tries_a_failed_run_again() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "j", "j", "j", "P")
        assert asked(fake, Pause) == [Pause("support-r16")]
        assert "support-r16 was told." in text_of(app)
        held = [
            replace(row, state=Queued(1, held=True, paused_at=820)) if row.name == "support-r16" else row
            for row in mixed_rows()
        ]
        fake.change(held)
        await settled(pilot, 2.2)
        await pilot.press("k", "j")  # the next key clears the message
        await settled(pilot)
        assert text_of(app).splitlines()[-2] == " next  P  resume it"
        assert " P resume " in text_of(app).splitlines()[-1]
        await pressed(pilot, "P")
        assert asked(fake, Release) == [Release("support-r16")]
        await pressed(pilot, "g", "P")
        assert "has ended: nothing to pause." in text_of(app)
        await pilot.click(Table, offset=(8, 2))
        await settled(pilot)
        assert "sql-lora-70b" in cursor_row(app)
        await pressed(pilot, "k", "j")  # a key clears the message
        assert "next  n" in text_of(app)
        await pressed(pilot, "T")
        (order,) = asked(fake, Retry)
        assert f"{order.run} resumes from step 400, 2nd in the queue." in text_of(app)


async def test_every_footer_key_is_bound_the_footer_drops_whole_keys_and_the_state_row_says_the_order() -> (
    None
):
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake), (120, 40)) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        for key in screen.KEYS:
            assert key.keys or key.shown == ":", "of the palette"
            for name in filter(None, key.keys.split(",")):
                assert name in screen._bindings.key_to_bindings, key
            whose, _, action = key.action.partition("(")[0].rpartition(".")
            assert hasattr(app if whose else screen, f"action_{action}"), key
        await pilot.resize_terminal(60, 20)
        await pressed(pilot, "j", "j", "j")
        footer = text_of(app).splitlines()[-1]
        assert footer.endswith("? keys")
        labels = "enter open, S stop, P pause, f check, n new run, / filter, K kill, o sort, space mark, t tag, d live"
        assert {words.strip() for words in footer.split("  ")} <= {*labels.split(", "), "? keys"}
        # the state row says filter, group and order, and groups have headings
        await pilot.resize_terminal(120, 40)
        await pilot.press("slash")
        await typed(pilot, "support group:method sort:-loss")
        await pressed(pilot, "enter")
        assert "/ support: 10 match  by method  o sort: highest loss first" in text_of(app).splitlines()[1]
        assert " method full: 3 runs, loss 1.25 ± 0.5 of 2" in text_of(app)
        assert " method lora: 7 runs, loss 1.25 ± 0.5 of 2" in text_of(app)
        await pressed(pilot, "o")
        assert "by method  o sort: newest first" in text_of(app).splitlines()[1]
        assert asked(fake, Runs)[-1].filter == "support group:method"
        await pilot.press("escape", "colon")  # the palette begins to type an order
        await typed(pilot, "sort by")
        await pressed(pilot, "enter")
        assert text_of(app).splitlines()[-2].startswith(" / sort: ")
        assert "sort: needs a field. Try sort:newest, sort:loss" in text_of(app).splitlines()[-2]
        await typed(pilot, "name")
        await pressed(pilot, "enter")
        assert "o sort: by name" in text_of(app).splitlines()[1]


async def test_hostile_names_draw_no_control_characters() -> None:
    evil = "a\x1b[31mred\x1b]0;title\x07\u202etxt\r\nnew\tline\x9bcsi"
    done = Finished(NOW - 5000, NOW - 4000)
    check = make_check("no_verdict", None, reason=evil, accepted=evil)
    row = make_row(1, evil, done, model=evil, method=evil, note=evil, tags=[evil], check=check, alarm=evil)
    waits = make_row(2, evil + "2", Queued(1, evil), step=0, metrics={})
    async with shown_app(make_app(FakeSupervisor([row, waits])), (160, 40)) as (app, pilot):
        for keys in ([], ["j"], ["S"]):
            await pressed(pilot, *keys)
            assert all(letter.isprintable() for letter in text_of(app).replace("\n", ""))
        await pilot.press("escape", "slash", *"re", "enter")
        app.say(evil, "red")
        await settled(pilot)
        assert all(letter.isprintable() for letter in text_of(app).replace("\n", ""))


async def typed(pilot: Any, text: str) -> None:
    await pressed(pilot, *["space" if letter == " " else letter for letter in text])


async def test_a_filter_is_live_says_what_is_wrong_or_hides_all_esc_drops_it_and_o_sorts() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        await pilot.press("slash")
        await typed(pilot, "state:running los<1")
        assert text_of(app).splitlines()[-2].endswith("no run has a metric los. Did you mean loss?")
        assert text_of(app).splitlines()[-2].startswith(" / state:running los<1 ")
        assert "3 need you" in text_of(app)
        assert "support-r16" in text_of(app) and "support-r8" not in text_of(app), "the rows of state:running"
        await pressed(pilot, "left", "left", "s")
        assert "2 of 13 match" in text_of(app).splitlines()[-2]
        await pilot.press("enter", "slash")
        await typed(pilot, " state:")
        assert ": needs a value. Try state:r" in text_of(app).splitlines()[-2]
        await typed(pilot, "bad")
        await pressed(pilot, "enter")
        *above, prompt = text_of(app).splitlines()[-4:-1]
        words = "state:bad: no state 'bad'. Use failed, finished, lost, queued, running, stopped."
        assert words in "".join(above)
        assert prompt.startswith(" / state:running loss<1 state:bad"), "it stays open"
        assert app.screen.runs.filter == "state:running loss<1"  # type: ignore[attr-defined]
        await pressed(pilot, "escape", "escape")
        await pressed(pilot, "slash")
        assert "e.g. regressed, lora loss<1.2, -tag:x" in text_of(app)
        await pressed(pilot, *"r16")
        assert "support-r16" in cursor_row(app)
        assert text_of(app).splitlines()[-2].endswith("1 of 13 match")
        assert text_of(app).splitlines()[-2].startswith(" / r16")
        await pressed(pilot, "enter")
        assert "/ r16: 1 match" in text_of(app).splitlines()[1]
        await pressed(pilot, "escape")
        assert "legal-cpt" in text_of(app)
        await pressed(pilot, "slash", *"REG")
        assert text_of(app).splitlines()[-2].endswith("1 of 13 match")
        assert "support-full-1e-4" in cursor_row(app)
        await pressed(pilot, *"xyz")
        assert "No run matches 'REGxyz'.  esc clears the filter." in text_of(app)
        await pressed(pilot, "escape")
        assert "legal-cpt" in text_of(app)
        await pressed(pilot, "slash", *"qqq", "enter")
        assert "No run matches 'qqq'.  esc clears the filter." in text_of(app)
        assert "13 runs without it" in text_of(app)
        assert "next  esc  clear the filter" in text_of(app)
        await pressed(pilot, "escape")
        assert "support-full-1e-4" in cursor_row(app)
        await pressed(pilot, "slash")
        await typed(pilot, "method:lora age>9w")
        await pressed(pilot, "enter")
        assert "No run matches 'method:lora age>9w'.  esc clears the filter." in text_of(app)
        assert " 10 match without age>9w" in text_of(app)
        await pressed(pilot, "escape", "o", "o")
        assert "sort: by name" in text_of(app)
        assert asked(fake, Runs)[-1].sort == "name"
        assert " needs you\n" not in text_of(app)


async def test_marked_runs_are_counted_compared_kept_through_a_new_list_dropped_by_esc_and_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Any] = []
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        monkeypatch.setattr(app, "open_compare", opened.append)
        await pressed(pilot, "c")
        assert "mark at least two runs with space" in text_of(app)
        await pressed(pilot, "space", "space")
        assert text_of(app).splitlines()[1].startswith(" 2 marked   3 need you")
        assert row_with(app, "support-full-1e-4 ").startswith(" •✗")
        assert "legal-cpt" in cursor_row(app)
        await pressed(pilot, "c")
        assert opened == [["support-full-1e-4", "sql-lora-70b"]]
        await pilot.press("o", "slash")
        await typed(pilot, "legal")
        await pressed(pilot, "enter")
        assert "2 marked" in text_of(app), "also where they are not shown"
        await pressed(pilot, "escape")
        assert "marked" not in text_of(app).splitlines()[1]
        assert "/ legal: 1 match" in text_of(app)
        # several are stopped once their number is typed
        await pressed(pilot, "escape", "o", "o", "o", "g")
        await pressed(pilot, "space", "j", "space", "space", "S")
        assert text_of(app).splitlines()[-2] == " Stop 2 runs (1 other has ended)? Type 2:"
        await pressed(pilot, "1", "enter")
        assert not asked(fake, Stop)
        assert text_of(app).splitlines()[-2].endswith("type 2 to confirm")
        await pressed(pilot, "backspace", "2", "enter")
        assert asked(fake, Stop) == [Stop("legal-cpt"), Stop("support-r16")]
        assert "2 of 2 done: legal-cpt is being ended." in text_of(app)


async def test_t_puts_tags_on_and_a_note_X_asks_and_moves_to_the_trash_and_u_takes_back() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake)) as (app, pilot):
        await pressed(pilot, "t")
        assert text_of(app).splitlines()[-2].startswith(" tag support-full-1e-4:")
        await typed(pilot, "+keep -")
        assert "is not a tag" in text_of(app).splitlines()[-2]
        await pressed(pilot, "enter")
        assert not asked(fake, Tag)
        await typed(pilot, 'draft "too hot"')
        await pressed(pilot, "enter")
        assert asked(fake, Tag) == [Tag("support-full-1e-4", ["keep"], ["draft"])]
        assert asked(fake, Note) == [Note("support-full-1e-4", "too hot")]
        assert 'support-full-1e-4: keep, "too hot". u undoes it.' in text_of(app)
        await pressed(pilot, "u")
        assert asked(fake, Tag)[-1] == Tag("support-full-1e-4", ["draft"], ["keep"])
        assert asked(fake, Note)[-1] == Note("support-full-1e-4", "before")
        # X moves to the trash
        await pressed(pilot, "X")
        assert "Move support-full-1e-4 to the trash?  100.0 MB; u brings it back." in text_of(app)
        await pressed(pilot, "escape", "space", "space", "X")
        assert text_of(app).splitlines()[-2].startswith(" Move 2 runs to the trash?  200.0 MB. Type 2:")
        await pressed(pilot, "2", "enter", within_s=0.3)
        assert "4 running   2 queued   11 total" in text_of(app)
        assert "marked" not in text_of(app).splitlines()[1]
        await pressed(pilot, "u", within_s=0.3)
        assert asked(fake, Restore) == [Restore("2"), Restore("1")]
        assert "undone: the trash: 2 runs." in text_of(app)
        await pressed(pilot, "u")
        assert "nothing to undo" in text_of(app)


async def test_columns_are_chosen_kept_and_shown_where_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetop.tui.kept.file_of", lambda home: tmp_path / "app.json")
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake), (100, 24)) as (app, pilot):
        await pilot.press("colon")
        await typed(pilot, "columns")
        await pressed(pilot, "enter")
        assert "[x] model" in text_of(app) and "[ ] objective" in text_of(app), "what is shown has its mark"
        await pressed(pilot, "space")
        assert "model is shown at this width anyway" in text_of(app) and "[x] model" in text_of(app)
        await typed(pilot, "eval_losx")
        assert "no run has a metric eval_losx. Did you mean eval_loss?" in text_of(app).splitlines()[-2]
        await pressed(pilot, "enter")
        assert " columns: eval_losx" in text_of(app), "what is refused stays open"
        assert "no run has a metric eval_losx. Did you mean eval_loss?" in text_of(app)
        await pressed(pilot, "backspace")
        assert "[ ] eval_loss" in text_of(app)
        await typed(pilot, "s, method.rank")
        await pressed(pilot, "enter")
        assert "eval_loss" in row_with(app, "did it forget?")
        assert " columns: " not in text_of(app)
        assert app.screen.runs.columns == ("eval_loss", "method.rank")
        assert "1.020" in cursor_row(app)
        assert asked(fake, Runs)[-1].settings == ["method.rank"]
    for width, is_there in ((80, False), (120, True)):
        async with shown_app(make_app(fake), (width, 24)) as (app, pilot):
            assert ("eval_loss" in row_with(app, "did it forget?")) == is_there
            assert "REGRESSED -9.1" in cursor_row(app)


def test_a_file_of_columns_that_is_none_of_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetop.tui.kept.file_of", lambda home: tmp_path / "app.json")
    no_names = b'{"columns": ["\\u001b[31m", "x y z"]}'
    for content in (b"", b"{", b'{"columns": 3}', no_names, b"x" * 99_999):
        (tmp_path / "app.json").write_bytes(content)
        assert input_lines.saved_columns(Home(tmp_path)) in ((), ("x", "y", "z"))


async def test_what_is_counted_and_not_listed_yet_is_no_empty_home() -> None:
    """With a supervisor that has just started, the first rows arrive by a refresh into an empty list."""
    fake = FakeSupervisor([])
    runs = RunList(fake.ask)
    await runs.load("", None)
    assert runs.is_empty
    fake.rows = [make_row(1, "one", Finished(1.0, 2.0))]
    assert await runs.refresh(0, 10)
    assert not runs.is_empty
    await runs.load("", None)
    assert not runs.is_empty


@pytest.mark.parametrize(
    ("hint", "settings"),
    [
        (
            "Lower train.batch_size (now 8) and raise train.grad_accumulation (now 1) by as much; lower data.max_tokens"
            " (now 512).",
            {"train.batch_size": 4, "train.grad_accumulation": 2},
        ),
        ("Lower data.max_tokens (now 512).", {"data.max_tokens": 256}),
        ("Lower train.learning_rate (now 0.001): finetop resume x@3", {"train.learning_rate": "3.3e-4"}),
        ("Set model.dtype to float32 (or float16, which needs less memory).", {"model.dtype": "float32"}),
        ("The traceback is in the job's log.", {}),
        ("Set slurm.partition to gpu in settings.yaml.", {}),
    ],
)
def test_a_new_run_from_a_failed_one_changes_what_its_error_names(
    hint: str, settings: dict[str, object]
) -> None:
    row = make_row(1, "failed", Failed(NOW, "out of memory", hint))
    assert fix_of(row) == settings
    key, words = next_step(row)
    assert (key, "with" in words) == (("n", True) if settings else ("enter", False))


def test_every_column_is_a_field_of_the_filter_and_no_two_have_one_title() -> None:
    for column in (*COLUMNS, HOST):
        for key in column.title.replace(",", "").split():  # `tags, note` has a term for each of its words
            assert TITLES.get(key, key) in (*KEYS, "loss", "tokens_per_s")
    titles = [column.title for column in COLUMNS]
    assert len(titles) == len(set(titles))
    # a chosen column is not shown twice
    runs = empty_list()
    runs.columns = ("loss", "eval_loss")
    titles = "".join(text for text, _ in head_line(runs, 120)).split()
    assert titles.count("loss") == 1 and "eval_loss" in titles
    assert needed_width(("loss", "eval_loss")) < 120


def test_a_word_that_is_on_the_screen_finds_its_run() -> None:
    runs = {
        "REG": ["support-full-1e-4"], "regressed": ["support-full-1e-4"], "failed": ["sql-lora-70b"],
        "out of memory": ["sql-lora-70b"], "forgot:failed": ["sql-lora-70b"], "forgot:acc": ["support-full-3e-4"],
        "no verdict": ["tiny"], "queued r64": ["support-r64"], "how:full -ok -reg": ["support-full-3e-4"],
        "left<10m": ["support-r16"], "drift": ["legal-cpt"], "quick": [],
    }  # fmt: skip
    for text in runs:
        assert [row.name for row in mixed_rows() if holds(parse(text), row, NOW)] == runs[text], text


def old_failures(number: int) -> list[Any]:
    """Return a list in which failures of several days ago are above running and waiting runs."""
    states = [Lost(NOW - 9e4, "the machine restarted")]
    states += [Failed(NOW - 9e4 - at, "out of memory") for at in range(2, number + 1)]
    names = ["tried-lost", *(f"tried-{at}" for at in range(2, number + 1))]
    tried = zip(names, states, strict=True)
    return [
        *(make_row(at, name, state, needs_you=True) for at, (name, state) in enumerate(tried, 1)),
        make_row(90, "trains", Running(NOW - 800, "training", 311, 9000)),
        make_row(91, "waits", Queued(1)),
        make_row(92, "ended", Finished(NOW - 99, NOW - 9), check=make_check("ok", 0.4, suite="core")),
    ]


async def test_A_marks_all_failures_as_seen_so_that_what_runs_and_waits_stands_above_them() -> None:
    fake = FakeSupervisor(old_failures(23))
    async with shown_app(make_app(fake)) as (app, pilot):
        assert "23 need you" in text_of(app) and "waits" not in text_of(app)
        assert "A seen" in text_of(app).splitlines()[-1]
        await pressed(pilot, "A")
        assert "Mark tried-lost as seen?" in text_of(app)
        assert "y mark it   a mark all 23" in text_of(app)
        assert not asked(fake, Tag), "nothing is marked before the answer"
        await pressed(pilot, "a")
        assert len(asked(fake, Tag)) == 23
        assert "23 runs marked as seen. u undoes it." in text_of(app)
        lines = text_of(app).splitlines()
        assert "nothing needs you" in lines[1]
        places = [
            next(at for at, line in enumerate(lines) if name in line) for name in ("trains", "waits", "ended")
        ]
        assert places == [4, 6, 8]
        assert "trains" in cursor_row(app), "the cursor stays at its place"
        await pressed(pilot, "u")
        assert "23 need you" in text_of(app)
        # of one failure the next is under the cursor
        fake.asked.clear()
        fake.change(old_failures(3))
        app.show_runs()
        await settled(pilot)
        await pressed(pilot, "g", "j", "A", "y")
        assert asked(fake, Tag) == [Tag("tried-2", ["seen"])]
        assert "tried-3" in cursor_row(app)
        await pressed(pilot, "A", "escape", "G")
        assert len(asked(fake, Tag)) == 1 and "tried-2" in cursor_row(app)
        assert "A seen" not in text_of(app).splitlines()[-1]


async def test_remedies_under_way_are_seen_in_the_row_the_counts_and_the_question_of_a_stop() -> None:
    trying = Running(NOW - 60, "half-way: scoring tuned", 212, 336, "items", 40.0)
    job = SideJob("remedy", trying, Tried(2, 8, 240.0))
    done = Finished(NOW - 6000, NOW - 4000)
    fake = FakeSupervisor([make_row(21, "hot", done, check=make_check(), needs_you=True, others=[job])])
    async with shown_app(make_app(fake), (120, 40)) as (app, pilot):
        assert "● 1 remedy job" in text_of(app).splitlines()[0]
        assert "1 needs you   1 remedy job   1 total" in text_of(app)
        assert "remedies 2 of 8" in row_with(app, "● hot ")
        assert "next  r  watch the remedies" in text_of(app)
        await pressed(pilot, "S")
        assert "Stop the remedies of hot?  2 of 8 done; scores kept." in text_of(app)
        await pressed(pilot, "y")
        assert Stop("hot") in fake.asked
