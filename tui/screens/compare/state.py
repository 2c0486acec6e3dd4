"""The state of the Compare screen: its runs, how they are shown, and how they are brought up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetop.core.features.data_versions.messages import DataDiffer, DataDifferAnswer
from finetop.core.features.data_versions.wording import same_data
from finetop.core.protocol.messages.runs import Across, Curve, Curves, CurvesAnswer, GetRun
from finetop.core.protocol.runs import RunDetail, Running
from finetop.core.wording.metrics import metric_keys
from finetop.tui.app_interface import Host
from finetop.tui.screens.run.grid import Grid
from finetop.tui.screens.run.zoom import Shown
from finetop.tui.widgets.chart_grid import Layout, grid_of
from finetop.tui.widgets.series import Stretch

Tab = Literal["numbers", "data", "samples", "scatter"]
TABS: tuple[Tab, ...] = ("numbers", "data", "samples", "scatter")
SMOOTHING = 0.6  # until `m` changes it: unsmoothed curves hide each other
_START = Shown(smoothing=SMOOTHING)
_NOWHERE = Stretch("step", 0, 1, 0)


@dataclass
class CompareState:
    """The runs, their curves of the metrics that are shown, and how the user looks at them."""

    names: list[str]
    runs: list[RunDetail] = field(default_factory=list)
    curves: dict[str, list[Curve | None]] = field(default_factory=dict)  # by metric, then run; None: lacks it
    data: dict[tuple[str, str], DataDifferAnswer] = field(default_factory=dict)  # by pair of runs
    stretch: Stretch = _NOWHERE
    newest: dict[tuple[str, Across], float] = field(default_factory=dict)  # newest x by run and axis
    size: tuple[int, int] = (80, 18)  # of the tab
    below: int = 0  # rows of the table below the charts
    tab: Tab = "numbers"
    shown: Shown = _START
    grid: Grid = field(default_factory=Grid)  # of the metrics
    hidden: set[str] = field(default_factory=set)  # runs whose curves are not drawn
    chosen: int = 0
    target: int = 0  # index of the target metric in the scatter chart
    tops: dict[Tab, int] = field(default_factory=dict)
    _curves_of: tuple[object, ...] = ()

    @property
    def metric_keys(self) -> list[str]:
        """The metrics that any of the runs has, the most telling first."""
        return list(dict.fromkeys(key for run in self.runs for key in metric_keys(run.row)))

    @property
    def metrics(self) -> list[str]:
        """The metrics drawn on this page."""
        return self.grid.charts(self.metric_keys, self.layout.charts)

    @property
    def layout(self) -> Layout:
        """How the tab is divided: the charts have what the table below leaves, and half of it at least."""
        width, height = self.size
        return grid_of(width, height, below=min(self.below, height - height // 2), is_full=self.grid.is_full)

    @property
    def room(self) -> int:
        """The number of charts on a page of the grid."""
        width, height = self.size
        return grid_of(width, height, below=height - height // 2, is_full=False).charts

    @property
    def against(self) -> tuple[int, int]:
        """Whose data are compared: the first's with the chosen run's, or with the second's."""
        return 0, self.chosen or min(1, len(self.runs) - 1)

    async def load_runs(self, host: Host) -> None:
        """Load the runs: all at first, later only those still running or being checked."""
        known = {run.row.name: run for run in self.runs}
        runs = []
        for name in self.names:
            run = known.get(name)
            if run is None or isinstance(run.row.state, Running) or isinstance(run.row.checking, Running):
                run = await host.ask(GetRun(name))
            runs.append(run)
        self.runs = runs

    async def load_curves(self, host: Host, stretch: Stretch) -> None:
        """Load the curves if there are newer values or the request has changed."""
        metrics = self.metrics
        stands = tuple((run.row.name, run.row.step) for run in self.runs)
        request = (tuple(metrics), stretch, stands)
        if not metrics or stretch.columns < 1 or request == self._curves_of:
            return
        curves: dict[str, list[Curve | None]] = {metric: [] for metric in metrics}
        for run in self.runs:
            answer: CurvesAnswer = await host.ask(Curves(run.row.name, metrics, **stretch._asdict()))
            by_metric = {curve.key: curve for curve in answer.curves}
            for metric in metrics:
                curves[metric].append(by_metric.get(metric))
            self.newest[run.row.name, stretch.x] = run.row.step if stretch.x == "step" else answer.newest
        self.curves, self.stretch, self._curves_of = curves, stretch, request

    async def load_data(self, host: Host) -> None:
        """Load how the selected run's data differ from the first's; once, because the rows read never change."""
        first, other = (self.runs[at] for at in self.against)
        names = first.row.name, other.row.name
        sources = [first.sources, other.sources]
        if names not in self.data and all(sources) and not same_data(sources):
            self.data[names] = await host.ask(DataDiffer(*names))
