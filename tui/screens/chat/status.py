"""What a side of a chat is and does now, as the title of its pane."""

from __future__ import annotations

from rich.cells import cell_len

from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.runs import Queued, Running
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import exact_span, long_span
from finetop.core.wording.jobs import phase
from finetop.tui.screens.chat.state import Answer, ChatState
from finetop.tui.text import Line, Span, cut_end, cut_line, cut_middle, line_width, rule
from finetop.tui.theme import MARKS


def side_title(state: ChatState, at: int, width: int, where: str, now: float) -> Line:
    """Return the title of a side's pane: its model, what it does, and `where` in its turns the view is."""
    side = state.sides[at]
    is_chosen = at == state.chosen and len(state.sides) > 1 and not state.is_full
    mark: Line = (("▸ ", "key"),) if is_chosen else ()
    label = cut_middle(clean_line(side.model.label), max(8, width // 2 - 8))
    title: Line = (*mark, (label, "key" if is_chosen else "bold"))
    place: Line = ((f"  {where}", "dim"),) if where else ()
    room = width - line_width(title) - line_width(place) - 8
    forms = side_status(state, at, now)
    status = next((form for form in forms if line_width(form) <= room), cut_line(forms[-1], max(0, room)))
    detail = _model_detail(state, at)
    if detail and line_width(status) + cell_len(detail) + 3 <= room:
        title = (*title, (f"  {detail}", "dim"))
    return rule(title, width, (*status, *place, (" ", "")))


def _model_detail(state: ChatState, at: int) -> str:
    """Return which model a side is, where its label does not say it: 'support-r16 step 1,200', a path, a URL."""
    model = state.sides[at].model
    match model.kind:
        case "checkpoint":
            is_said = model.run in ("", model.label, state.run.rpartition(":")[2])
            run = "" if is_said else clean_line(model.run)
            step = f"step {count(model.step)}" if model.step is not None else ""
            return "" if step == model.label else f"{run} {step}".strip()
        case "endpoint":
            return "" if model.url == model.label else clean_line(model.url)
        case _:
            return ""


def side_status(state: ChatState, at: int, now: float) -> list[Line]:
    """Return what a side does now, longest form first: waiting, loading, answering, or how its answer went."""
    answer = state.answer_of(at)
    if not state.sides[at].error and answer is not None and (state.is_over or answer.is_over):
        return _ended_forms(answer)
    return [_going_status(state, at, answer, now)]


def _going_status(state: ChatState, at: int, answer: Answer | None, now: float) -> Line:
    side, job = state.sides[at], state.job
    if side.error:
        return (("✗ ", "red"), (cut_end(clean_line(side.error), 40), "red"))
    if state.is_over:
        return (("ended", "dim"),)
    if state.trouble or state.left_open is not None:
        return ()
    if job is None or isinstance(job, Queued):
        return _waiting_status(job)
    if not side.is_ready:
        return _running(phase(job) if isinstance(job, Running) else "starting", 0.0)
    if answer is None:
        return (("ready", "dim"),)
    if not answer.pieces:
        return _not_begun_status(state, at, now)
    return _running("answering", answer.elapsed_s)


def _running(words: str, elapsed_s: float) -> Line:
    elapsed = f", {long_span(elapsed_s)}" if elapsed_s >= 1 else ""
    return ((f"{MARKS['running'].mark} ", "cyan"), (f"{words}{elapsed}", "cyan"))


def _not_begun_status(state: ChatState, at: int, now: float) -> Line:
    """Return what a side that has not begun its answer waits for: another prompt or side, else it reads the prompt."""
    turn = next(turn for turn in state.turns if at in turn.answers and not turn.answers[at].is_over)
    others = [
        other
        for other, answer in turn.answers.items()
        if other != at and not answer.is_over and answer.pieces
    ]
    if turn is not state.turn:
        return (("waiting for the prompt before", "dim"),)
    if others:
        return ((f"waiting for {cut_end(clean_line(state.sides[others[0]].model.label), 20)}", "dim"),)
    is_served = state.sides[at].model.kind == "endpoint"
    words = "waiting for the server" if is_served else "reading the prompt"
    return _running(words, now - turn.answers[at].since)


def _waiting_status(job: Queued | None) -> Line:
    if job is None:
        return (("opening …", "dim"),)
    mark: Span = (f"{MARKS['queued'].mark} ", "queued")
    place = f"{ordinal(job.place)} in the queue" if job.place else "waits in Slurm"
    because = f", {clean_line(job.because)}" if job.because else ""
    return (mark, (cut_end(f"{place}{because}", 44), ""))


def _ended_forms(answer: Answer) -> list[Line]:
    if answer.error:
        return [(("✗ error", "red"),)]
    if answer.end is None:
        return [(("ended", "dim"),)]
    end = answer.end
    if not end.tokens:
        return [(("stopped" if end.why == "stopped" else "no token", "dim"),)]
    tokens = counted(end.tokens, "token")
    first = f", first after {exact_span(end.first_s)}" if end.first_s else ""
    speed = f", {_rate(end.tokens / end.took_s)}" if end.took_s > 0 and end.tokens > 1 else ""
    forms = (
        f"{tokens} in {exact_span(end.took_s)}{first}{speed}",
        f"{tokens}{first}{speed}",
        f"{tokens}{speed}",
        tokens,
    )
    return [((form, "dim"),) for form in forms]


def _rate(speed: float) -> str:
    return f"{speed:,.0f} tok/s" if speed >= 9.95 else f"{speed:.1f} tok/s"


def waiting_words(state: ChatState) -> str:
    """Return what is still to be answered: '2 more prompts wait'; empty for nothing beside the one in progress."""
    waiting = sum(not turn.is_over for turn in state.turns) - 1 + len(state.unsent)
    return (
        f"{count(waiting)} more {'prompt waits' if waiting == 1 else 'prompts wait'}" if waiting > 0 else ""
    )
