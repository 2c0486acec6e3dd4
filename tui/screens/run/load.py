"""Asks for what the open tab of the Run screen needs, one thing after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.runs import GetRun
from finetop.tui.screens.run import log_tab
from finetop.tui.screens.run.charts import wanted_keys
from finetop.tui.screens.run.head import OF_CHARTS
from finetop.tui.screens.run.metrics import SPARK, numbered
from finetop.tui.screens.run.state import (
    load_checks,
    load_curves,
    load_data,
    load_log,
    load_processes,
    load_sparks,
    log_job,
)
from finetop.tui.screens.run.zoom import stretch
from finetop.tui.widgets.chart import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.protocol.runs import RunDetail
    from finetop.tui.app_interface import Host
    from finetop.tui.screens.run.state import Held
    from finetop.tui.screens.run.view_state import Looks


async def load(host: Host, held: Held, run: str, looks: Looks, redraw: Callable[[], object]) -> None:
    """Ask how a run stands, which is shown before the rest has come, and for what the open tab needs."""
    is_new = held.detail is None
    held.detail = detail = await host.ask(GetRun(run))
    if not is_new:
        redraw()
    if looks.tab in OF_CHARTS:
        await _load_charts(host, held, detail, looks)
    if looks.tab == "system":
        await load_processes(host, held)
    if looks.tab == "metrics":
        await load_log(host, held, log_job(detail))
    if looks.tab == "log":
        await log_tab.load(host, held, detail, looks.log, redraw)
    if looks.tab == "check":
        await load_checks(host, held)
    if looks.tab in ("recipe", "steps"):
        await load_data(host, held)


async def _load_charts(host: Host, held: Held, detail: RunDetail, looks: Looks) -> None:
    row, layout = detail.row, looks.layout(detail.row)
    keys, columns = wanted_keys(looks.charted(row)), columns_of(layout.chart_width)
    for _ in range(2):  # where an axis ends may be known only when its curves came
        x, (first, last) = looks.shown.x, stretch(looks.shown, looks.axis(held, detail))
        await load_curves(host, held, keys, x, first, last, columns)
        if x == "step" or (first, last) == stretch(looks.shown, looks.axis(held, detail)):
            break
    if looks.tab == "metrics":
        await load_sparks(host, held, numbered(looks.small(row), looks.metric(row)), SPARK)
