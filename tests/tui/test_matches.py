"""n and N after a search on every screen that has one, and what n does without a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from queue_fakes import QueueFake
from run_fakes import make_run_app, training
from triage_fakes import FakeTriage, make_store
from tui_fakes import FakeSupervisor, make_app, mixed_rows, settled, shown_app, text_of, typed

from finetop.tui.keys import NO_MATCH, NO_SEARCH
from finetop.tui.screens.launch.screen import LaunchScreen
from finetop.tui.screens.run.screen import RunScreen
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (100, 30)


def cursor(app: Any) -> str:
    """Return the row under the cursor of a list."""
    return next(row for row in text_of(app).splitlines() if row.lstrip("│ ").startswith("▸"))


@pytest.mark.parametrize(
    ("name", "keys", "search"),
    [
        ("runs", [], "support"),
        ("queue", ["3"], "support"),
        ("triage", ["2"], "full"),
        ("items", ["2", "right", "right", "enter", "escape"], "lost"),
    ],
)
async def test_in_a_list_n_goes_to_the_next_row_that_is_left(
    tmp_path: Path, name: str, keys: list[str], search: str
) -> None:
    makes: dict[str, Any] = {"runs": lambda: FakeSupervisor(mixed_rows()), "queue": QueueFake}
    fake = makes.get(name, lambda: FakeTriage(make_store(tmp_path)))()
    async with shown_app(make_app(fake, tmp_path), SIZE) as (app, pilot):
        await typed(pilot, *keys, "slash", *search, "enter", "g", within_s=0.05)
        screen, first = app.screen, cursor(app)
        assert "n N match" in text_of(app).splitlines()[-1]
        await typed(pilot, "n")
        assert app.screen is screen
        second = cursor(app)
        assert second != first
        await typed(pilot, "N")
        assert cursor(app) == first
        await typed(pilot, "N")
        last = cursor(app)
        assert last != first, "from the first on to the last"
        await typed(pilot, "n")
        assert cursor(app) == first
        assert NO_MATCH not in text_of(app)


async def test_without_a_filter_n_is_a_new_run_and_with_one_the_footer_does_not_offer_it() -> None:
    fake = FakeSupervisor(mixed_rows())
    async with shown_app(make_app(fake), (160, 30)) as (app, pilot):
        assert "n new run" in text_of(app).splitlines()[-1]
        await typed(pilot, "slash", *"state:finished", "enter")
        assert isinstance(app.screen, RunsScreen)
        footer = text_of(app).splitlines()[-1]
        assert "n N match" in footer
        assert "new run" not in footer
        await typed(pilot, "escape", "n")
        assert isinstance(app.screen, LaunchScreen)
        # what is next on n says that the search ends first
        fake.change(
            [row for row in mixed_rows() if row.name == "sql-lora-70b"]
        )  # out of memory: a smaller batch
        app.show_runs()
        await settled(pilot)
        assert "next  n  a new run" in text_of(app)
        await typed(pilot, "slash", *"sql", "enter")
        assert "next  esc  end the search, then n: a new run" in text_of(app)
        await typed(pilot, "escape", "n")
        assert isinstance(app.screen, LaunchScreen)


async def test_in_the_log_n_goes_to_the_next_line_and_of_metrics_to_the_next_chart() -> None:
    app = make_run_app(training())
    app._first_run = "support-r16"
    async with shown_app(app, SIZE) as (app, pilot):
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await typed(pilot, "l", "slash", *"loss", "enter")
        assert "n N match" in text_of(app).splitlines()[-1]
        search = screen.state.log.search
        assert search is not None
        assert len(search.hits) > 2
        newest = search.at
        await typed(pilot, "N")
        assert app.screen is screen
        assert search.at == search.hits[-2] != newest
        await typed(pilot, "n")
        assert search.at == newest
        await typed(pilot, "n")
        assert search.at == search.hits[0], "from the last on to the first"
        await typed(pilot, "escape", *["tab"] * 6, "slash", *"loss", "enter")
        assert screen.state.tab == "metrics"
        await typed(pilot, "n")
        assert app.screen is screen
        assert screen.state.grid.at == 0
        await typed(pilot, "escape", "n")
        assert isinstance(app.screen, LaunchScreen)


async def test_in_launch_n_goes_on_to_the_next_setting_with_these_words(tmp_path: Path) -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows()), tmp_path), SIZE) as (app, pilot):
        await typed(pilot, "4", "n")
        assert NO_SEARCH in text_of(app)
        await typed(pilot, "slash", *"learning rate", "enter")
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        visited = [screen.state.key]
        assert "n N match" in text_of(app).splitlines()[-1]
        while visited.count(visited[0]) == 1:  # until it is back at the first
            await typed(pilot, "n")
            visited.append(screen.state.key)
        assert len(set(visited)) == len(visited) - 1 > 1
        await typed(pilot, "N")
        assert screen.state.key == visited[-2]


async def test_the_help_is_searched_as_well() -> None:
    async with shown_app(make_app(FakeSupervisor(mixed_rows())), SIZE) as (app, pilot):
        await typed(pilot, "question_mark")
        assert "n N match" not in text_of(app).splitlines()[-1]
        await typed(pilot, "n")
        assert NO_SEARCH in text_of(app)
        await typed(pilot, "slash", *"trash", "enter")
        assert "n N match" in text_of(app).splitlines()[-1]
        first = cursor(app)
        assert "trash" in first
        await typed(pilot, "n")
        assert "trash" in cursor(app)
        assert cursor(app) != first
        await typed(pilot, "N")
        assert cursor(app) == first
        await typed(pilot, "N")
        assert "trash" in cursor(app)
        assert cursor(app) != first, "from the first on to the last"
        await typed(pilot, "n")
        assert cursor(app) == first
