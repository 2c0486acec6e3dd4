"""Build the page of a comparison of approaches: which is best, at what cost, what each forgot, on which data."""

from __future__ import annotations

from dataclasses import dataclass

from finetop.core.features.approaches.messages import Approaches, ApproachesAnswer
from finetop.core.features.data_versions import wording as data_versions
from finetop.core.features.report.load import Ask, RunFacts, load_facts
from finetop.core.features.report.page import Block, Page, Points, Section, Table, Tone, moment
from finetop.core.features.report.sections import approaches, inputs
from finetop.core.features.report.sections.check import verdict
from finetop.core.wording.units import metric_words

ON_TARGET = "on this target"  # the topic of the advice in the summary


@dataclass(frozen=True, slots=True)
class ComparisonDetail:
    """A comparison: its table and advice, and the details of the first run of each approach that trains."""

    answer: ApproachesAnswer
    trained: tuple[RunFacts, ...]


def comparison_of(ask: Ask, name: str) -> ComparisonDetail:
    """Request all that a report of a comparison needs. Raises FinetopError."""
    answer: ApproachesAnswer = ask(Approaches(name))
    own_runs = [[run for run in row.runs if not run.learns_news] for row in answer.rows if row.trains]
    return ComparisonDetail(answer, tuple(load_facts(ask, runs[0].name) for runs in own_runs if runs))


def page_of_comparison(comparison: ComparisonDetail, now: float, version: str) -> Page:
    """Build the page of a comparison."""
    answer = comparison.answer
    best = next((row for row in answer.rows if row.is_best), None)
    advice = next((advice_row.text for advice_row in answer.advice if advice_row.topic == ON_TARGET), "")
    level = [row.name for row in answer.rows if row.gap is not None and row.gap.is_open]
    others = f" or {level[0]}" if len(level) == 1 else f" or {len(level)} others" if level else ""
    tone: Tone = "open" if best is None or level else "good"
    better = "lower is better" if answer.lower_is_better else "higher is better"
    by = metric_words(answer.metric)
    measured = sum(run.is_measured for row in answer.rows for run in row.runs)
    runs = sum(len(row.runs) for row in answer.rows)
    sections = (
        Section("Approaches", approaches.tables(answer)),
        Section("Advice", (approaches.advice(answer, without=ON_TARGET),) if answer.advice else ()),
        Section("Did they forget?", _verdicts(comparison)),
        Section("Data", _data(comparison)),
        Section("Runs", _runs(answer)),
    )
    return Page(
        title=answer.name,
        about=f"{answer.model} on {answer.target}, compared by {by} ({better})",
        word="NOT MEASURED" if best is None else f"BEST: {best.name}{others}",
        tone=tone,
        sentence=advice or "No approach is measured yet.",
        sure=(f"{measured} of {runs} runs are measured",),
        sections=tuple(section for section in sections if section.blocks),
        footer=f"{moment(now)}, by finetop {version}",
    )


def _verdicts(comparison: ComparisonDetail) -> tuple[Block, ...]:
    """Return the verdict on the first run of each approach that trains."""
    rows = []
    for run in comparison.trained:
        word, _, sentence, _ = verdict(run)
        rows.append((run.detail.row.name, word, sentence))
    if not rows:
        return ()
    which = "For each approach that trains: the run of its first seed."
    about = Points((f"{which} The table above includes all seeds.",))
    return (about, Table(("run", "verdict", "in words"), tuple(rows)))


def _data(comparison: ComparisonDetail) -> tuple[Block, ...]:
    """Return what was trained on: the first run's data, and the others' where they differ."""
    runs_with_data = [run for run in comparison.trained if run.detail.data]
    if not runs_with_data:
        return ()
    first, *others = runs_with_data
    lines = [f"These are of {first.detail.row.name}; unless noted, the others have read the same."]
    for run in others:
        name, contents = run.detail.row.name, {row.content for row in run.detail.sources}
        if data_versions.same_data([first.detail.sources, run.detail.sources]):
            continue
        if contents and contents == {row.content for row in first.detail.sources}:
            how = "in other prompts, truncated or weighted differently"
            lines.append(f"{name} has read the same rows differently: {how}.")
        else:
            versions = ", ".join(map(data_versions.version_words, run.detail.sources)) or "version unknown"
            lines.append(f"{name} was trained on others: {versions}.")
    return (Points(tuple(lines)), *inputs.data(first))


def _runs(answer: ApproachesAnswer) -> tuple[Block, ...]:
    rows = []
    for approach in answer.rows:
        for run in approach.runs:
            measured = "done" if run.is_measured else run.message or "not yet"
            read = "its rows and the new facts" if run.learns_news else "its rows" if approach.trains else ""
            rows.append((run.name, approach.name, str(run.seed), run.state, measured, read))
    head = ("run", "approach", "seed", "state", "measuring", "trained on")
    return (Table(head, tuple(rows), right=(2,)),) if rows else ()
