"""The tables and charts of each screen, as written to a file. Pure functions of what the screens hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from finetop.core.features.approaches import columns as approach_columns
from finetop.core.features.approaches.messages import ApproachesAnswer
from finetop.core.features.compare import compare_runs
from finetop.core.features.remedies import columns as remedy_columns
from finetop.core.features.remedies.messages import RemediesAnswer
from finetop.core.features.report.page import Block, Chart, Table
from finetop.core.features.report.sections.check import tasks
from finetop.core.features.report.sections.training import checkpoints, line_of, samples
from finetop.core.features.sweeps import columns as sweep_columns
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.features.triage.messages import TriageRow
from finetop.core.protocol import runs as data
from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.messages.queue import LiveRow, QueueRow
from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import RunDetail, RunRow
from finetop.core.recipe.dotted import flat_texts
from finetop.core.wording.columns import exact
from finetop.core.wording.verdicts import change, short_answer
from finetop.tui.save import Sheet
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.widgets.series import Stretch


def runs(rows: Sequence[RunRow]) -> Sheet:
    """Return the list of runs with every metric that any of them has."""
    keys = sorted({key for row in rows for key in row.metrics})
    settings = sorted({key for row in rows for key in row.settings})
    head = ("run", "model", "method", "objective", "state", "created", "step", "steps")
    check = ("did it forget?", "change", "limit", "checked at step")
    lines = tuple(
        (
            *(row.name, row.model, row.method, row.objective, data.word(row.state)),
            *(_moment(row.created), str(row.step), str(row.steps)),
            *_checked(row),
            *(" ".join(row.tags), row.note),
            *(exact(row.metrics.get(key)) for key in keys),
            *(str(row.settings.get(key, "")) for key in settings),
        )
        for row in rows
    )
    return Sheet("runs", (Table((*head, *check, "tags", "note", *keys, *settings), lines),))


def _checked(row: RunRow) -> tuple[str, str, str, str]:
    check = row.check
    if check is None:
        return "", "", "", ""
    moved = "" if check.drop is None else change(check.drop / 100)
    return short_answer(check), moved, f"{check.margin:g}", "" if check.step is None else str(check.step)


def run_charts(name: str, curves: Mapping[str, Curve], stretch: Stretch) -> Sheet:
    """Return the curves of a run that a tab draws, a chart each."""
    x, first, last, columns = stretch
    lines = [(key, line_of(curve, first, last, columns)) for key, curve in curves.items()]
    charts = [Chart(f"{key} by {x}", (line,), last, first=first, x=x) for key, line in lines if line.steps]
    return Sheet(_file_name(name), (), tuple(charts))


def run(detail: RunDetail, tab: str, outcome: CheckResult | None) -> Sheet:
    """Return what a tab of a run shows that has no charts."""
    name = _file_name(f"{detail.row.name}-{tab}")
    match tab:
        case "samples":
            return Sheet(name, _tables(samples(detail)))
        case "recipe":
            return Sheet(name, (Table(("setting", "value"), tuple(flat_texts(detail.recipe).items())),))
        case "check":
            return Sheet(name, _tables(tasks(outcome)))
        case "steps":
            return Sheet(name, _tables(checkpoints(detail)))
    return Sheet(name)


def compare(
    details: Sequence[RunDetail], curves: Mapping[str, Sequence[Curve | None]], stretch: Stretch
) -> Sheet:
    """Return the overlaid curves, the results, and the differences between the recipes."""
    _, first, last, columns = stretch
    charts = []
    for metric, of_runs in curves.items():
        lines = [
            (detail.row.name, line_of(curve, first, last, columns))
            for detail, curve in zip(details, of_runs, strict=False)
            if curve is not None
        ]
        if named := tuple(replace(line, name=name) for name, line in lines if line.steps):
            charts.append(Chart(metric, named, last, first=first))
    names = tuple(detail.row.name for detail in details)
    results = compare_runs.outcomes(details, time.time())
    differing = compare_runs.differences(compare_runs.settings_of(details))
    sources = compare_runs.data_differences(details)
    tables = (
        Table(("results", *names), tuple((row.label, *row.cells) for row in results)),
        Table(("recipe differences", *names), tuple((row.key, *row.values) for row in differing)),
        Table(("data", *names), tuple((row.key, *row.values) for row in sources)),
    )
    return Sheet("compare", tables, tuple(charts))


def queue(entries: Sequence[tuple[str, LiveRow | QueueRow]]) -> Sheet:
    """Return running and queued jobs; each with its name as requests need it."""
    rows = []
    for name, row in entries:
        if isinstance(row, QueueRow):
            facts = ("waits", row.wants, str(row.priority), row.state.because, _moment(row.starts_at))
        else:
            facts = ("runs", row.on, "", row.state.phase, "")
        rows.append((name, row.what, *facts))
    head = ("run", "what", "state", "on / wants", "priority", "why", "starts")
    return Sheet("queue", (Table(head, tuple(rows)),))


def sweep(name: str, keys: Sequence[str], settings: Sequence[Setting]) -> Sheet:
    """Return the settings of a sweep, each number as mean and standard deviation over its runs."""
    table = Table.of(sweep_columns.in_file(keys, settings), settings)
    return Sheet(f"sweep-{_file_name(name)}", (table,))


def approaches(answer: ApproachesAnswer) -> Sheet:
    """Return how well each approach does, what it costs, and the advice."""
    done = [row for row in answer.rows if row.target is not None]
    left = [row for row in answer.rows if row.target is None]
    tables = (
        *(Table.of(table, done) for table in approach_columns.tables(answer)),
        Table(("not measured", "state", "why"), tuple((row.name, row.state, row.message) for row in left)),
        Table(("topic", "advice"), tuple((line.topic, line.text) for line in answer.advice)),
    )
    return Sheet(f"approaches-{_file_name(answer.name)}", tables)


def triage(rows: Iterable[TriageRow], names: Sequence[str]) -> Sheet:
    """Return the triage matrix: one run per row, one task per column, changes in points."""
    lines = tuple(
        (
            *(row.shown_name, row.model, row.method, row.verdict, row.standing.state if row.standing else ""),
            *(_points(row.drop), f"{row.margin:g}"),
            *("" if cell is None else _points(cell.drop) for cell in row.cells),
        )
        for row in rows
    )
    head = ("run", "model", "method", "verdict", "state", "all", "limit", *names)
    return Sheet("triage", (Table(head, lines),))


def remedies(answer: RemediesAnswer | None) -> Sheet:
    """Return the remedies tried on a run, one per row: target, kept gain, forgetting, item counts."""
    if answer is None:
        return Sheet("remedies")
    now = [] if answer.now is None else [answer.now]
    table = Table.of(remedy_columns.in_file(answer), [*now, *answer.rows])
    return Sheet(f"{_file_name(answer.run)}-remedies", (table,))


def chat(state: ChatState) -> Sheet:
    """Return a conversation, one row per prompt: the answer of each side, with its tokens and seconds."""
    labels = [side.model.label for side in state.sides]
    head = ["prompt", "expected", *labels]
    for label in labels:
        head += [f"tokens of {label}", f"seconds of {label}"]
    rows = []
    for turn in state.turns:
        answers = [turn.answers.get(at) for at in range(len(labels))]
        texts = ["" if answer is None else answer.error or answer.text for answer in answers]
        ends = [None if answer is None else answer.end for answer in answers]
        numbers = [("", "") if end is None else (str(end.tokens), f"{end.took_s:.2f}") for end in ends]
        rows.append((turn.prompt, turn.expected, *texts, *(text for pair in numbers for text in pair)))
    return Sheet(f"{_file_name(state.run)}-chat", (Table(tuple(head), tuple(rows)),) if rows else ())


def _points(drop: float | None) -> str:
    return "" if drop is None else change(drop / 100)


def _tables(blocks: Sequence[Block]) -> tuple[Table, ...]:
    return tuple(block for block in blocks if isinstance(block, Table))


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _file_name(run: str) -> str:
    return run.replace(":", "-").replace("/", "-")
