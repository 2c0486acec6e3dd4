"""What the Compare screen holds of its runs, and how it is brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from finetop.core.protocol.messages.data_versions import DataDiffer, DataDifferAnswer
from finetop.core.protocol.messages.runs import Across, Curve, Curves, CurvesAnswer, GetRun
from finetop.core.protocol.runs import RunDetail, Running
from finetop.core.wording.data_versions import same_data
from finetop.tui.app_interface import Host

Tab = Literal["numbers", "data", "samples", "scatter"]
TABS: tuple[Tab, ...] = ("numbers", "data", "samples", "scatter")


@dataclass
class ComparedRuns:
    """The runs, whole, and their curves of the metrics that are shown."""

    runs: list[RunDetail] = field(default_factory=list)
    curves: dict[str, list[Curve | None]] = field(
        default_factory=dict
    )  # of each metric, one a run; None: it has none
    data: dict[tuple[str, str], DataDifferAnswer] = field(default_factory=dict)  # of two runs
    x: Across = "step"  # what they are drawn over
    first: float = 0
    last: float = 1
    columns: int = 0
    newest: dict[tuple[str, Across], float] = field(default_factory=dict)  # where on an axis a run stands
    _curves_of: tuple[object, ...] = ()


async def load_runs(host: Host, held: ComparedRuns, names: list[str]) -> None:
    """Ask for the runs: all at first, then those that go on."""
    known = {run.row.name: run for run in held.runs}
    runs = []
    for name in names:
        run = known.get(name)
        if run is None or isinstance(run.row.state, Running) or isinstance(run.row.checking, Running):
            run = await host.ask(GetRun(name))
        runs.append(run)
    held.runs = runs


async def load_curves(
    host: Host,
    held: ComparedRuns,
    metrics: Sequence[str],
    x: Across,
    first: float,
    last: float,
    columns: int,
) -> None:
    """Ask for the curves, if there are newer values or other ones are wanted."""
    stands = tuple((run.row.name, run.row.step) for run in held.runs)
    request = (tuple(metrics), x, first, last, columns, stands)
    if not metrics or columns < 1 or request == held._curves_of:
        return
    curves: dict[str, list[Curve | None]] = {metric: [] for metric in metrics}
    for run in held.runs:
        answer: CurvesAnswer = await host.ask(
            Curves(run.row.name, list(metrics), columns=columns, last=last, first=first, x=x)
        )
        found = {curve.key: curve for curve in answer.curves}
        for metric in metrics:
            curves[metric].append(found.get(metric))
        held.newest[run.row.name, x] = run.row.step if x == "step" else answer.newest
    held.curves, held.x, held.first, held.last, held.columns = curves, x, first, last, columns
    held._curves_of = request


def against(runs: Sequence[RunDetail], chosen: int) -> tuple[int, int]:
    """Say whose data are compared: the first's with the chosen run's, or with the second's."""
    return 0, chosen or min(1, len(runs) - 1)


async def load_data(host: Host, held: ComparedRuns, chosen: int) -> None:
    """Ask how the data of the chosen run differ from the first's: once, as what was read does not change."""
    first, other = (held.runs[at] for at in against(held.runs, chosen))
    names = first.row.name, other.row.name
    sources = [first.sources, other.sources]
    if names not in held.data and all(sources) and not same_data(sources):
        held.data[names] = await host.ask(DataDiffer(*names))
