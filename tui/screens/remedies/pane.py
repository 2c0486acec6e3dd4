"""Text around the list of remedies: the run's state, the best remedy, the next step, one remedy's details."""

from __future__ import annotations

from finetop.core.features.remedies import wording as remedies
from finetop.core.features.remedies.messages import RemediesAnswer, RetrainingRow
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.runs import Failed, Lost, Queued, RemedyRow, Running
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import verdicts
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import change_of
from finetop.tui.text import Line, cut_end, cut_middle, spread, wrapped
from finetop.tui.theme import MARKS, StyleName
from finetop.tui.widgets.frame import next_line
from finetop.tui.widgets.scatter import Spot, scatter, scatter_rule


def title_lines(answer: RemediesAnswer, width: int) -> list[Line]:
    """Return the title: the run, its current score, the goal, and how many remedies were tried."""
    name = cut_middle(clean_line(answer.run), 34 if width < 100 else 60)
    left: Line = ((" Remedies for ", ""), (name, "bold"))
    if width >= 100:
        left = (*left, (f" at step {count(answer.step)}", ""))
    tried = sum(1 for row in answer.rows if row.verdict)
    can = sum(1 for row in answer.rows if not row.why_not)
    goal = "most of each gain kept" if remedies.has_several(answer) else "most gain kept"
    goal_line: Line = ((f" Goal: {goal}, with a drop proven under {answer.margin:.1f}", ""),)
    if isinstance(answer.job, Failed | Lost):
        cause = cut_end(clean_line(answer.job.cause), width - 44)
        goal_line = ((" ✗ ", "red"), (f"failed: {cause}", "red"))
    right: Line = ((f"{tried} of {can} tried ", "dim"),)
    return [spread(left, (*_now_line(answer, width), (" ", "")), width), spread(goal_line, right, width)]


def _now_line(answer: RemediesAnswer, width: int) -> Line:
    row = answer.now
    if row is None or row.drop is None:
        is_outdated = answer.weights_now != "same"
        return (("weights changed since its check", "amber"),) if is_outdated else (("not tried yet", "dim"),)
    reached = f"target {remedies.target(answer, row)}, " if answer.metric else ""
    word = remedies.verdict(row)
    style = MARKS[row.verdict].style if row.verdict in MARKS else ""
    where = f", {remedies.measured_by(answer, row)}" if width >= 120 else ""
    return ((f"now{where}: {reached}retained {remedies.moved(row, answer.margin)} ", ""), (word, style))


def detail_lines(answer: RemediesAnswer, row: RemedyRow, width: int) -> list[Line]:
    """Return the details of one remedy: what it does, its results, item counts, losses."""
    lines: list[Line] = [
        (),
        ((f" {clean_line(row.label)}", "bold"), (f"   {clean_line(row.name)}", "dim")),
        *(((f"   {text}", ""),) for text in wrapped(row.about, width - 6)),
        ((f"   made from the checkpoint at step {count(row.step)}", "dim"), *_settings(row)),
    ]
    if row.why_not:
        return [*lines, (), ((f"   {clean_line(row.why_not)}", "amber"),)]
    if not row.verdict:
        return [*lines, (), ((f"   {remedies.untried(row)}", "dim"),)]
    if row.note:
        lines += [((f"   {text}", ""),) for text in wrapped(row.note, width - 6)]
    lines += [(), *_chosen_on(row, answer.margin), *_confirmed_on(row, answer.margin), ()]
    for metric, reached in row.target.items():
        before = answer.now.target.get(metric) if answer.now is not None else None
        now = "" if before is None else f", now {before:.3f}"
        kept = f", {100 * row.kept[metric]:.0f}% of the gain" if metric in row.kept else ""
        counts = ": the worst metric, which counts" if metric == remedies.least(row) else ""
        lines.append(((f"   {metric_words(metric)} {reached:.3f}{now}{kept}{counts}", ""),))
    lines.append(())
    measured = [task for task in row.worst if task.mark != "unmeasurable"]
    for task in measured:
        style: StyleName = "red" if task.mark == "lost" else ""
        lines.append(((f"   {clean_line(task.task):<20}", ""), (f"{change_of(task.drop):>6}", style)))
    if row.weights:
        lines += [(), ((f"   weights sha256 {row.weights[:16]}, scored in {long_span(row.seconds)}", "dim"),)]
    return lines


def _settings(row: RemedyRow) -> Line:
    settings = {key: value for key, value in row.settings.items() if key != "step"}  # said already
    text = ", ".join(clean_line(f"{key} {value}") for key, value in settings.items())
    return ((f"   {text}", "dim"),) if text else ()


def _chosen_on(row: RemedyRow, margin: float) -> list[Line]:
    if row.verdict in ("failed", "unchanged"):
        style: StyleName = "red" if row.verdict == "failed" else ""
        return [((f"   {remedies.verdict(row)}: {clean_line(row.reason)}", style),)]
    mark, verdict = MARKS[row.verdict], remedies.verdict(row)
    retained = remedies.retained(row, margin)
    used = f"{count(row.items_used)} of {count(row.items_total)} selection items"
    return [((f"   {mark.mark} {verdict}", mark.style), (f"  {retained} on {used}", ""))]


def _confirmed_on(row: RemedyRow, margin: float) -> list[Line]:
    match row.confirmation:
        case "":
            return [(("     not confirmed on fresh items", "dim"),)]
        case "no_items":
            return [(("     not confirmed: no fresh items left", "dim"),)]
    mark = MARKS[row.confirmation]
    drop = change_of(row.fresh_drop or 0.0, margin) + remedies.in_brackets(row.fresh_decided, margin)
    used = f"{count(row.fresh_used)} of {count(row.fresh_total)} fresh items"
    word = "confirmed" if row.confirmation == "ok" else "not confirmed"
    return [((f"   {mark.mark} {word}", mark.style), (f"  {drop} on {used}, at alpha {row.alpha:.2g}", ""))]


def best_lines(answer: RemediesAnswer, width: int) -> list[Line]:
    """Return the best remedy and how certain that is: the newest finding, in at most two rows."""
    if outdated := verdicts.outdated(f"{clean_line(answer.run)}@{answer.step}", answer.weights_now):
        first, *more = wrapped(outdated, width - 4, 2)
        return [((" ! ", "amber mark"), (first, "amber")), *(((f"   {line}", "amber"),) for line in more)]
    sentences = remedies.best(answer)
    if not sentences:
        return [_under_way(answer)]
    first, *more = wrapped(sentences[-1], width - 4, 2)
    style: StyleName = "green" if first[:1] in (remedies.BEST, remedies.CONFIRMED) else ""
    return [((f" {first[:1]}", style), (first[1:], "")), *(((f"     {line}", ""),) for line in more)]


def _under_way(answer: RemediesAnswer) -> Line:
    job = answer.job
    if isinstance(job, Queued):
        return ((" ○ remedies queued", ""),)
    if not isinstance(job, Running):
        return ()
    progress = ""
    if job.done is not None and job.total:
        progress = f", {count(int(job.done))} of {count(int(job.total))}"
    return ((" ● ", "cyan"), (f"{clean_line(job.phase)}{progress} {clean_line(job.unit)}".rstrip(), ""))


def next_lines(answer: RemediesAnswer, at: RemedyRow | RetrainingRow | None) -> list[Line]:
    """Return the next step and what it costs."""
    if answer.is_under_way:
        return [next_line("esc", "back; it keeps running")]
    letters = {row.name: letter for letter, row in remedies.lettered(answer.rows)}
    step, left = remedies.next_step(answer), remedies.left(answer)
    why = f": {clean_line(step.why)}" if step.why else ""
    match step.do:
        case "check":
            return [next_line("esc", f"back, then f: check it{why}")]
        case "export":
            how = f", which {clean_line(step.why)}" if why else " as a full model, verified"
            return [next_line("E", f"on {letters[step.name]}: export it{how}")]
        case "confirm":
            text = f"confirm it on fresh items; {clean_line(step.why)}"
            return [next_line("R", f"on {letters[step.name]}: {text}")]
        case "try":
            number = counted(len(left), "remedy", "remedies")
            return [next_line("R", f"try {number}, or one{why or remedies.price(answer)}")]
        case "retrain":
            again = next_line("R", f"on one below: retrain{why}")
            more = next_line("R", f"try {counted(len(left), 'more remedy', 'more remedies')}", before="or")
            return [again, more] if left else [again]
    return [next_line("esc", f"back{why}")]


def picture_lines(answer: RemediesAnswer, *, width: int, height: int) -> list[Line]:
    """Draw the chart in `height` rows, including its rule; the rule alone without points."""
    title = scatter_rule(answer.metric, width)
    points = _spots(answer)
    if height < 5 or not points:
        return [title][: max(0, height)]
    drawn = scatter(
        points,
        width=width,
        height=height - 1,
        limit=-answer.margin,
        x_words=lambda x: f"{x:.0f}" if round(x) else "0",
        lower_is_better=answer.metric in LOWER_IS_BETTER,
    )
    return [title, *drawn]


def _style(row: RemedyRow) -> StyleName:
    return MARKS[row.verdict].style if row.verdict in ("ok", "regressed") else ""


def _spots(answer: RemediesAnswer) -> list[Spot]:
    spots = [
        Spot(f"{remedies.star(answer, row)}{letter}", -row.drop, reached, _style(row))
        for letter, row in remedies.lettered(answer.rows)
        if row.drop is not None and (reached := row.target.get(answer.metric)) is not None
    ]
    now = answer.now
    if now is not None and now.drop is not None and answer.metric in now.target:
        spots.append(Spot("now", -now.drop, now.target[answer.metric]))
    if answer.metric in answer.base:
        spots.append(Spot("base", 0.0, answer.base[answer.metric]))
    return spots
