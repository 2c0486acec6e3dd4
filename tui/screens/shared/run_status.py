"""How a run's status is shown: its mark, the answer to "did it forget?", the next step. Text, mark and colour agree."""

from __future__ import annotations

from finetop.core.plugins import is_checkable
from finetop.core.protocol import runs
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.runs import NO_WEIGHT, CheckBrief, Failed, Lost, Queued, Running, RunRow, Stopped
from finetop.core.text import clean_line, count
from finetop.core.wording import jobs, pulse, verdicts
from finetop.core.wording.durations import long_span
from finetop.core.wording.endings import state_word
from finetop.core.wording.next_step import advised
from finetop.core.wording.queue import is_for_later, why
from finetop.tui.screens.shared.fix import fix_words
from finetop.tui.text import Line, Span, line_width
from finetop.tui.theme import MARKS, Mark, StyleName

NOT_CHECKED = Mark("-", "-", "")
KEY_OF_SCREEN = {"remedies": "r", "chat": "C"}  # that opens it from a run
HEADINGS = ("needs you", "running", "queued", "done")


def heading_of(row: RunRow) -> str:
    """Return the heading of a run in the list "needs you first"."""
    if row.needs_you:
        return HEADINGS[0]
    if isinstance(row.state, Queued):
        return HEADINGS[2]
    return HEADINGS[1 if runs_now(row) else 3]


def runs_now(row: RunRow) -> bool:
    """Return True if a run is made now, or a job beside its training runs, such as its check."""
    return any(isinstance(state, Running) for state in (row.state, *(job.state for job in row.side_jobs)))


def left_of(row: RunRow) -> float | None:
    """Return how many seconds what runs of a run has left; None if that is unknown."""
    if ended_at(row) is None:
        return row.left_s
    states = (job.state for job in row.side_jobs)
    return next((state.left_s for state in states if isinstance(state, Running)), None)


def mark_of(row: RunRow) -> Mark:
    """Return the mark of a run: trouble first, then its verdict, then its state."""
    state = row.state
    if isinstance(state, Failed | Lost):
        return MARKS["failed"]
    if isinstance(state, Running):
        if row.check is not None and row.check.verdict == "regressed":
            return mark_of_check(row.check)
        return MARKS["alarm"] if row.alarm or state.pulse else MARKS["running"]
    if isinstance(state, Queued):
        return MARKS["queued" if state.paused_at is None else "paused"]
    if row.not_resumed:
        return MARKS["alarm"]
    if beside := row.side_jobs:
        return MARKS["running"] if isinstance(beside[0].state, Running) else MARKS["queued"]
    if row.check is not None:
        return mark_of_check(row.check)
    return MARKS["stopped"] if isinstance(state, Stopped) else NOT_CHECKED


def hue(row: RunRow) -> StyleName:
    """Return the colour of a run's curve."""
    hues: dict[StyleName, StyleName] = {"amber mark": "amber", "": "dim"}
    style = mark_of(row).style
    return hues.get(style, style)


def mark_of_check(check: CheckBrief) -> Mark:
    """Return the mark of a verdict."""
    if check.verdict == "regressed" and check.is_settled:
        return MARKS["accepted"]
    return MARKS[check.verdict]


def forgot(row: RunRow, now: float, room: int = 1000, *, name_suite: bool | None = None) -> Line:
    """Answer "did it forget?" in a few words, or return the run's state or running jobs in at most `room` cells."""
    state = row.state
    match state:
        case Failed() | Lost():
            word = "FAILED" if isinstance(state, Failed) else "LOST"
            return ((word, "red"), (f" {clean_line(state.cause)}", "red"))
        case Queued():
            has_place = state.place and not state.held and not is_for_later(state, now)
            place, because = ordinal(state.place) if has_place else "", why(state, now)
            words = ", ".join(filter(None, (place, because)))
            if place and len(words) > room and because.startswith("waits "):
                words = f"{place}, waits"  # the pane says what for
            return ((words, "dim"),)
        case Running():
            return _running(row, state, name_suite)
    if row.not_resumed:
        return _not_resumed(row)
    if row.side_jobs:
        return _beside(row, room)
    if row.check is not None:
        return verdict_words(row.check, name_suite=name_suite)
    how = state_word(state) if isinstance(state, Stopped) else ""
    return ((", ".join(filter(None, (how, verdicts.unchecked(row)))), "dim"),)


def _not_resumed(row: RunRow) -> Line:
    return (("NOT RESUMED", "amber mark"), (f" {clean_line(row.not_resumed.partition(': ')[2])}", "amber"))


def alarm_words(text: str) -> Line:
    """Return an alarm with its first word in capitals, because it needs attention."""
    word, _, rest = clean_line(text).partition(" ")
    return ((word.upper(), "amber mark"), (f" {rest}", "amber"))


def stuck_words(state: Running) -> Line:
    """Return how a run is stuck: SILENT for 4 min, HUNG no step for 12 min, usual 3 s."""
    return ((pulse.label(state), "amber mark"), (f" {pulse.details(state)}", "amber"))


def _running(row: RunRow, state: Running, name_suite: bool | None) -> Line:
    if row.check is not None and row.check.verdict == "regressed" and not row.check.is_settled:
        return (*verdict_words(row.check, name_suite=name_suite), (_at_step(row.check), "red"))
    if state.pulse:
        return stuck_words(state)
    if row.alarm:
        return alarm_words(row.alarm)
    if state.asked:
        return ((jobs.requested_end(row.made_by, state), "dim"),)
    if row.check is not None:
        verdict = verdict_words(row.check, short=True, name_suite=name_suite)
        return (*verdict, (_at_step(row.check), ""))
    if drift := verdicts.unchecked(row):
        return ((drift, ""),)
    return ((_progress(state), "dim"),)


def _at_step(check: CheckBrief) -> str:
    return f" at step {check.step}" if check.step is not None else ""


def _progress(state: Running) -> str:
    phase = clean_line(state.phase) or "starting"
    if phase == "training":
        return "no check yet"
    if state.done is not None and state.total:
        return f"{phase} {state.done / state.total * 100:.0f} %"
    return phase


def _beside(row: RunRow, room: int) -> Line:
    """Return the progress of jobs beside the training, followed by the newest verdict."""
    line: Line = ()
    for job in row.side_jobs:
        comma: Line = ((", ", ""),) if line else ()
        line = (*line, *comma, *job_words(job, room))
    verdict: Line = () if row.check is None else (("  ", ""), *verdict_words(row.check, short=True))
    return (*line, *verdict) if line_width((*line, *verdict)) <= room else line


def job_words(job: runs.SideJob, room: int = 1000) -> Line:
    """Return the progress of a job, coloured by its state."""
    state = job.state
    if isinstance(state, Running) and state.pulse and not state.asked:
        return ((f"{job.kind.word} ", ""), *stuck_words(state))
    is_quiet = isinstance(state, Queued) or bool(state.asked)
    return ((jobs.job(job.verb, state, job.tried, room=room), "" if is_quiet else "cyan"),)


def verdict_words(check: CheckBrief, *, short: bool = False, name_suite: bool | None = None) -> Line:
    """Return a verdict: `REGRESSED -9.1`, `ok -1.9 on core, a real drop`, and what limits it unless `short`."""
    spans = _verdict_words(check, short=short, name_suite=name_suite)
    limits = "" if short else verdicts.limits(check)
    return (*spans, (limits, "amber")) if limits else spans


def _verdict_words(check: CheckBrief, *, short: bool, name_suite: bool | None) -> Line:
    on = verdicts.on_suite(check.suite, named=name_suite)
    change = f" {verdicts.change_of(check.drop)}{on}" if check.drop is not None else on
    if check.verdict == "no_verdict":
        reason = f"{on} {clean_line(check.reason)}" if check.reason and not short else on
        return ((verdicts.WORDS["no_verdict"], "amber mark"), (reason, "amber"))
    if check.verdict == "ok":
        details = "" if short else verdicts.ok_details(check)
        return ((verdicts.SHORT_WORDS["ok"], "green"), (f"{change}{details}", ""))
    if check.accepted:
        return ((f"{change.strip()}, accepted", ""), (f" ({clean_line(check.accepted)})", "dim"))
    if check.fixed_by:
        return ((f"{change.strip()}, fixed", ""), (f" by {clean_line(check.fixed_by)}", "dim"))
    return ((verdicts.WORDS["regressed"], "red"), (change, "red"))


def verdict_sentence(check: CheckBrief) -> Line:
    """Return a verdict in a sentence, with its evidence."""
    changed = verdicts.changed_mark(check)
    return (*_sentence(check), (changed, "amber")) if changed else _sentence(check)


def _sentence(check: CheckBrief) -> Line:
    mark = mark_of_check(check)
    start: Line = ((f" {mark.mark} ", mark.style),)
    on = verdicts.on_suite(check.suite)
    drop, margin = (check.drop or 0.0) / 100, check.margin / 100
    evidence = verdicts.finding(drop, margin, check.items_used, check.items_total)
    match check.verdict:
        case "regressed":
            settled = "accepted" if check.accepted else "fixed"
            word: Span = (settled, "bold") if check.is_settled else (verdicts.WORDS["regressed"], "red")
            return (*start, word, (f"{on}  {evidence}", ""))
        case "ok":
            text = f"{on}{verdicts.ok_details(check)}  {evidence}"
            return (*start, (verdicts.SHORT_WORDS["ok"], "green"), (text, ""))
    why = f"{on}  {clean_line(check.reason)}"
    return (*start, (verdicts.WORDS["no_verdict"], "amber mark"), (why, "amber"))


def state_sentence(row: RunRow, now: float) -> Line:
    """Return a run's state in a sentence, the first row of its pane."""
    mark = mark_of(row)
    start: Line = ((f" {mark.mark} ", mark.style),)
    state = row.state
    match state:
        case Failed() | Lost():
            word = "FAILED" if isinstance(state, Failed) else "LOST"
            return (*start, (word, "red"), (f"  {clean_line(state.cause)}", "red"))
        case Queued():
            return (*start, *_queued_sentence(row, state, now))
        case Running():
            return (*start, *_running_sentence(row, state))
    if row.not_resumed:
        return (*start, *_not_resumed(row))
    if row.side_jobs:
        return (*start, *_beside(row, 1000))
    if row.check is not None:
        return verdict_sentence(row.check)
    if isinstance(state, Stopped):
        left = {"kill": "nothing was saved at the end", "cancel": "it never ran"}
        if row.maker.of_others:
            left |= {"kill": "what its program had saved stays", "stop": "what its program saved stays"}
        kept = left.get(state.how, "its checkpoint is kept")
        planned = f" of {count(row.steps)}" if row.steps else ""
        at = f"at step {count(row.step)}{planned}; " if row.step else ""
        text = f"  {at}{kept}; not checked for forgetting"
        return (*start, (state_word(state), "bold"), (text, ""))
    if row.method == NO_WEIGHT:
        text = "  no weights changed: the base model, prompted another way"
        return (*start, ("same weights", "bold"), (text, ""))
    return (*start, ("not checked yet", "bold"))


def _queued_sentence(row: RunRow, state: Queued, now: float) -> Line:
    if state.paused_at is not None:
        step = f"at step {count(state.paused_at)}" + (f" of {count(row.steps)}" if row.steps else "")
        return (("paused", "bold"), (f"  {step}: resumes from there when released", ""))
    if state.held:
        return (("held", "bold"), ("  stays in the queue until released", ""))
    because = why(state, now)
    place = f"{ordinal(state.place)} in the queue" if state.place else "in Slurm"
    text = f"  {place}{f': {because}' if because else ''}"
    return (("queued", "bold"), (text, ""))


def _running_sentence(row: RunRow, state: Running) -> Line:
    if state.pulse:
        return stuck_words(state)
    if row.alarm:
        return alarm_words(row.alarm)
    if state.asked:
        word, colon, rest = jobs.requested_end(row.made_by, state).partition(":")
        return ((f"{word}{colon}", "bold"), (rest, ""))
    left = f", {long_span(row.left_s)} left" if row.left_s is not None else ""
    if row.step:
        planned = f" of {count(row.steps)}" if row.steps else ""
        spans: Line = (("running", "cyan"), (f"  step {count(row.step)}{planned}{left}", ""))
        if row.check is None:
            return spans
        return (*spans, ("; ", ""), *verdict_words(row.check, short=True), (f" at step {row.check.step}", ""))
    if state.phase == "training" and row.maker.of_others:
        return (("running", "cyan"), ("  no numbers yet", ""))
    is_counted = state.done is not None and bool(state.total)
    left = f", {long_span(state.left_s)} left" if is_counted and state.left_s is not None else ""
    return (("running", "cyan"), (f"  {jobs.phase(state)}{left}", ""))


def next_step(row: RunRow) -> tuple[str, str]:
    """Return the next step for a run: its key and text."""
    match advised(row):
        case "resume":
            return "P", "resume it"
        case "retry":
            how = "it resumes from its newest checkpoint" if row.saved else "it starts again"
            return "T", f"retry: {how}"
        case "check":
            return "f", "check it for forgetting: base against tuned, on the same items"
        case "check again":
            return "f", "check it again, once check.target is fixed"
        case "remedies":
            return "r", "remedies: fix it without retraining"
    return _reading_step(row)


def _reading_step(row: RunRow) -> tuple[str, str]:
    state = row.state
    if isinstance(state, Failed):
        if fix := fix_words(row):
            return "n", f"a new run from this one, with {clean_line(fix)}"
        return "enter", "read the end of its log"
    if isinstance(state, Queued):
        return "enter", "see its settings"
    if isinstance(state, Running):
        if state.pulse in ("hung", "stopped"):
            return "enter", "read the end of its log"
        return ("enter", "open it: curves and log") if row.alarm or not row.step else ("enter", "watch it")
    if row.side_jobs:
        kind = row.side_jobs[0].kind
        do = "go on with" if kind.idles else "watch"  # one that waits for its user is not watched
        return KEY_OF_SCREEN.get(kind.screen, "enter"), f"{do} the {kind.word}"
    if row.method == NO_WEIGHT:
        return "esc", "back to Runs; nothing to check, as no weights changed"
    if not is_checkable(row.objective):
        return "n", "a new run from this one; new models and reward models are not checked"
    check = row.check
    if check is not None and check.verdict == "regressed":
        return "enter", "see which answers were lost"
    if check is not None and check.verdict == "no_verdict":
        return "enter", "see why there is no verdict"
    return "n", "a new run from this one"


def ended_at(row: RunRow) -> float | None:
    """Return when a run ended, or None."""
    return row.state.ended if isinstance(row.state, runs.Ended) else None


def ran_for(row: RunRow) -> float | None:
    """Return how many seconds an ended run took, or None."""
    ran = runs.ran_s(row.state)
    return None if ran is None else max(0.0, ran)
