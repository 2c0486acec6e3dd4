"""Navigation: to a place, or to what a screen opens. Keys typed meanwhile wait for it (key_order.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from textual import work
from textual.screen import Screen

from finetop.tui.app_interface import ChatStart
from finetop.tui.key_order import WAY, OrderedKeysApp
from finetop.tui.modes import new_screen
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.features.triage.messages import TriageRow
    from finetop.tui.theme import StyleName

Place = TypeVar("Place")


class NavigatingApp(OrderedKeysApp, inherit_bindings=False):
    """An app that goes from screen to screen."""

    def say(self, text: str, style: StyleName = "") -> None:
        raise NotImplementedError

    def open_run(self, run: str) -> None:
        self.push_screen(new_screen("run", run))

    def open_remedies(self, run: str) -> None:
        self.push_screen(new_screen("remedies", run))

    def open_chat(self, run: str, start: ChatStart | None = None) -> None:
        self.push_screen(new_screen("chat", run, start or ChatStart()))

    def open_sweep(self, sweep: str) -> None:
        self.push_screen(new_screen("sweep", sweep))

    def open_approaches(self, comparison: str) -> None:
        self.push_screen(new_screen("approaches", comparison))

    def open_compare(self, runs: Sequence[str]) -> None:
        self.push_screen(new_screen("compare", runs))

    @work(group=WAY)
    async def open_launch(
        self, *, from_run: str = "", settings: Mapping[str, Any] | None = None, recipe: str = ""
    ) -> None:
        """Go to Launch: with the form as it was left, on a recipe, or filled from a run, overridden by settings."""
        from finetop.tui.screens.launch.screen import LaunchScreen

        screen = await self._go_to("launch", LaunchScreen)
        if screen is not None and from_run:
            await screen.fill_from_run(from_run, settings)
        elif screen is not None and recipe:
            screen.show_recipe(recipe)

    @work(group=WAY)
    async def open_triage(self, run: str) -> None:
        """Go to Triage, with the cursor on that run."""
        from finetop.tui.screens.triage.screen import TriageScreen

        screen = await self._go_to("triage", TriageScreen)
        if screen is not None:
            screen.load_anew(run)

    def open_items(self, row: TriageRow, task: str, text: str) -> None:
        """Open the items of a task that a run lost, filtered."""
        from finetop.tui.screens.triage.items_screen import ItemsScreen

        self.push_screen(ItemsScreen(row, task, text))

    @work(group=WAY)
    async def show_runs(self, run: str = "") -> None:
        """Go to the list of runs, with the cursor on that run."""
        screen = await self._go_to("runs", RunsScreen)
        if screen is not None:
            screen.load_anew(run)

    @work(group=WAY)
    async def sort_runs(self, key: str) -> None:
        """Go to the list of runs, by a metric."""
        screen = await self._go_to("runs", RunsScreen)
        if screen is not None:
            screen.filter_by(f"sort:{key}")

    async def _go_to(self, mode: str, kind: type[Place]) -> Place | None:
        """Go to the first screen of a place; None if a key has led elsewhere meanwhile."""
        await self.switch_mode(mode)
        while self.current_mode == mode and not isinstance(self.screen, kind) and len(self.screen_stack) > 1:
            await self.pop_screen()
        return self.screen if isinstance(self.screen, kind) else None

    def action_live(self) -> None:
        self.push_screen(new_screen("live"))

    @work(group=WAY)
    async def action_place(self, mode: str) -> None:
        """Go to the first screen of a place; if it is already shown, say so."""
        is_there = self.current_mode == mode and len(self.screen_stack) == 1
        await self._go_to(mode, Screen)
        while self.current_mode == mode and len(self.screen_stack) > 1:
            await self.pop_screen()
        if is_there:
            self.say(f"already on {self.screen.title}.")
