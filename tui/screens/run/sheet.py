"""What the open tab of the Run screen shows, as it goes into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.tui.screens.run.view_state import checked

if TYPE_CHECKING:
    from finetop.core.protocol.runs import RunDetail
    from finetop.tui.save import Sheet
    from finetop.tui.screens.run.state import Held
    from finetop.tui.screens.run.view_state import Looks


def sheet_of(looks: Looks, held: Held, detail: RunDetail | None) -> Sheet:
    """Give charts and tables of the tab; none while nothing is known of the run."""
    from finetop.tui.save import Sheet, tables

    if detail is None:
        return Sheet("run")
    one = checked(looks, held)
    stretch = (held.x or "step", held.first, held.last, held.columns)
    outcome = None if one is None else one.outcome
    return tables.run(detail, looks.tab, looks.charted(detail.row), held.curves, stretch, outcome)
