"""What is typed above the footer of the Run screen: names of metrics, a text or a step to find in the log."""

from __future__ import annotations

from collections.abc import Callable

from finetop.tui.screens.run.grid import Grid
from finetop.tui.screens.run.log_tab import LogView, searched
from finetop.tui.widgets.frame import Bottom


def metrics_line(bottom: Bottom, grid: Grid, look_anew: Callable[[], object]) -> None:
    """Let a text be typed that metrics have in their names; they are listed meanwhile."""

    def seek(text: str) -> None:
        grid.seek(text)
        look_anew()

    bottom.ask_text(
        "metrics",
        grid.sought,
        changed=seek,
        done=lambda text, is_kept: seek(text if is_kept else ""),
        keep="filter",
        leave="all metrics",
    )


def search_line(bottom: Bottom, log_view: LogView, look_anew: Callable[[], object]) -> None:
    """Let a text be typed that is searched for in the log."""

    def search(text: str, is_kept: bool) -> None:
        if is_kept:
            searched(log_view, text)
            look_anew()

    before = log_view.search
    bottom.ask_text(
        "search",
        "" if before is None else before.text,
        done=search,
        keep="search the whole log (step 412 goes to that step)",
        leave="cancel",
    )
