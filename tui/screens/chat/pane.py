"""The lines of the Chat screen: its title, its settings, and a side's pane with all its turns."""

from __future__ import annotations

from dataclasses import dataclass, field

from finetop.core.protocol.messages.chat import ChatSettings
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.runs import Failed, Lost, Queued, Running
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import clock, exact_span, long_span
from finetop.core.wording.jobs import phase
from finetop.tui.screens.chat import prompt_entry
from finetop.tui.screens.chat.state import Answer, ChatState, Turn
from finetop.tui.text import (
    CURSOR,
    Line,
    Span,
    cut_end,
    cut_middle,
    in_view,
    line_width,
    rule,
    spread,
    wrapped,
)
from finetop.tui.theme import MARKS, StyleName

LIMIT = 1 << 22  # bytes of a line of an answer that are shown
EARLIER_ROWS = 3  # of a prompt above its answer
GREEDY = "temperature 0, greedy"


@dataclass
class Wrapped:
    """The rows of each turn's texts, kept for as long as neither the text nor the width changes."""

    rows: dict[tuple[str, int, int], tuple[int, int, list[str]]] = field(default_factory=dict)

    def of(self, kind: str, side: int, number: int, text: str, width: int) -> list[str]:
        key, length = (kind, side, number), len(text)
        held = self.rows.get(key)
        if held is None or held[:2] != (length, width):
            held = self.rows[key] = (length, width, wrapped(text, width, limit=LIMIT))
        return held[2]


# --- above the panes -------------------------------------------------------------------------------------------


def title_line(state: ChatState, width: int, now: float) -> Line:
    """Return the title: the run, and what is wrong or about to happen."""
    name = cut_middle(clean_line(state.run), 34 if width < 100 else 60)
    left: Line = ((" Chat with ", ""), (name, "bold"))
    right = _news(state, width - line_width(left) - 3, now)
    return spread(left, (*right, (" ", "")), width) if right else left


def _news(state: ChatState, room: int, now: float) -> Line:
    if state.is_cut:
        text = "reconnecting: answers continue meanwhile"
        return (("! ", "amber mark"), (cut_end(text, room - 2), "amber"))
    if isinstance(state.job, Failed | Lost):
        return ((cut_end(f"✗ failed: {clean_line(state.job.cause)}", room), "red"),)
    if state.is_over:
        how = clean_line(getattr(state.job, "cause", "")) or clean_line(state.notice) or "the chat has ended"
        return ((cut_end(f"■ {how}", room), ""),)
    if state.ends_at:
        return _countdown(state, room, now)
    if state.notice:
        return ((cut_end(clean_line(state.notice), room), "dim"),)
    if isinstance(state.job, Running) and state.job.asked:
        return (("ending", "dim"),)
    return ()


def _countdown(state: ChatState, room: int, now: float) -> Line:
    left = max(0.0, state.ends_at - now)
    when = "now" if left < 1 else f"in {long_span(left)}"
    reason = clean_line(state.notice).rstrip(".")
    text = f"{reason}: this chat ends {when}" if reason else f"this chat ends {when}"
    if len(text) > room - 2:
        text = f"this chat ends {when}"
    return (("! ", "amber mark"), (text, "amber"))


def settings_line(settings: ChatSettings, width: int) -> Line:
    """Return how answers are generated, in one row."""
    sampling = f"temperature {settings.temperature:g}" if settings.temperature else GREEDY
    top_p = f", top_p {settings.top_p:g}" if settings.temperature and settings.top_p < 1 else ""
    seed = f", seed {settings.seed}" if settings.temperature else ""
    facts = f" {sampling}{top_p}{seed}, at most {counted(settings.max_new_tokens, 'token')}"
    if settings.raw:
        facts += ", no template"
    system = clean_line(settings.system)
    label = "   system " if system else "   no system prompt"
    return (
        (facts, "dim"),
        (label, "dim"),
        (cut_end(system, max(0, width - len(facts) - len(label) - 1)), ""),
    )


# --- a side ----------------------------------------------------------------------------------------------------


def side_lines(
    state: ChatState, at: int, wrapped_rows: Wrapped, *, width: int, height: int, now: float
) -> list[Line]:
    """Return a side's pane in `height` rows: its title, and the turns in view."""
    side = state.sides[at]
    lines = body_lines(state, at, wrapped_rows, width)
    room = max(1, height - 1)
    top = max(0, len(lines) - room) if side.first is None else min(side.first, max(0, len(lines) - room))
    if side.first is not None:
        side.first = None if top >= len(lines) - room else top
    _, shown, where = in_view(lines, top, room)
    return [_side_title(state, at, width, where if side.first is not None else "", now), *shown]


def row_of_turn(state: ChatState, at: int, wrapped_rows: Wrapped, width: int) -> int:
    """Return the row at which the chosen turn begins."""
    rows = 0
    for turn in state.turns:
        if turn is state.turn:
            break
        rows += len(_turn_lines(state, turn, at, wrapped_rows, width))
    return rows


def body_lines(state: ChatState, at: int, wrapped_rows: Wrapped, width: int) -> list[Line]:
    """Return all of a side's turns, then the prompts that were not sent yet."""
    lines: list[Line] = []
    for turn in state.turns:
        lines += _turn_lines(state, turn, at, wrapped_rows, width)
    for ask in state.unsent:
        lines += _prompt_lines(ask.text, (" ", ""), width)
        accepted = ask.number in state.accepted
        words = "waits" if accepted else "not sent yet: no connection" if state.is_cut else "sending …"
        lines += [((f" {words}", "dim"),), ()]
    if lines and not lines[-1]:
        lines.pop()
    return lines or _empty_lines(state, at, width)


def _turn_lines(state: ChatState, turn: Turn, at: int, wrapped_rows: Wrapped, width: int) -> list[Line]:
    answer = turn.answers.get(at)
    if answer is None:  # put to the other side alone
        return []
    lines: list[Line] = []
    if turn.is_fresh and turn is not state.turns[0]:
        lines += [rule((("new conversation", "dim"),), width), ()]
    is_chosen = turn is state.turn and at == state.chosen and not state.is_typing
    lines += _prompt_lines(turn.prompt, CURSOR if is_chosen else (" ", ""), width)
    if turn.expected:
        expected = wrapped(turn.expected, width - 12, EARLIER_ROWS)
        lines += [
            ((" expected  " if not row else " " * 11, "dim"), (text, "dim"))
            for row, text in enumerate(expected)
        ]
    rows = wrapped_rows.of("answer", at, turn.number, answer.text, width - 3) if answer.pieces else []
    lines += [((f" {row}", ""),) for row in rows]
    return [*lines, *_ending_lines(state, answer, width), ()]


def _prompt_lines(prompt: str, mark: Span, width: int) -> list[Line]:
    rows = wrapped(prompt, width - 5, EARLIER_ROWS, limit=LIMIT)
    return [
        ((mark, ("> ", "bold")) if not at else (mark, ("  ", ""))) + ((row, "bold"),)
        for at, row in enumerate(rows)
    ]


def _ending_lines(state: ChatState, answer: Answer, width: int) -> list[Line]:
    """Return what follows an answer's text: why it ended, or that it has not."""
    if answer.error:
        return [((f" {row}", "red"),) for row in wrapped(f"✗ {answer.error}", width - 3)]
    if answer.end is None:
        if state.is_over:
            return [((" ■ the chat ended here", "dim"),)]
        return [] if answer.pieces else [((" …", "dim"),)]
    if answer.end.why == "length":
        return [((f" (cut at {counted(answer.end.tokens, 'token')}: s sets how many)", "dim"),)]
    if answer.end.why == "stopped":
        return [((" (stopped)", "dim"),)]
    return [] if answer.text.strip() else [((" (an empty answer)", "dim"),)]


def _empty_lines(state: ChatState, at: int, width: int) -> list[Line]:
    """Return what to do while nothing was asked yet."""
    if state.trouble:
        return [((f" {row}", "red"),) for row in wrapped(state.trouble, width - 3)] if not at else []
    if state.left_open is not None:
        return _left_open_lines(state, width) if not at else []
    if isinstance(state.job, Queued):
        text = "You can type already: the first prompt is answered once it has started."
    elif state.job_id is None or (isinstance(state.job, Running) and not state.sides[at].is_ready):
        text = "You can type already: the first prompt is answered once the model is loaded."
    else:
        text = "Type a prompt and press enter. esc, then p: prompts of the recipe, test rows, lost items."
    return [((f" {row}", "dim"),) for row in wrapped(text, width - 3)]


def _left_open_lines(state: ChatState, width: int) -> list[Line]:
    job = state.left_open
    assert job is not None
    since = f" since {clock(job.state.since)}" if isinstance(job.state, Running) else ""
    text = f"A chat with this run is still open (job {job.id}{since}). Its turns are kept."
    return [((f" {row}", ""),) for row in wrapped(text, width - 3)]


def _side_title(state: ChatState, at: int, width: int, where: str, now: float) -> Line:
    side = state.sides[at]
    is_chosen = at == state.chosen and len(state.sides) > 1 and not state.is_full
    status = (*side_status(state, at, now), *(((f"  {where}", "dim"),) if where else ()))
    label = cut_middle(clean_line(side.model.label), max(8, width - line_width(status) - 10))
    mark: Line = (("▸ ", "key"),) if is_chosen else ()
    return rule((*mark, (label, "key" if is_chosen else "bold")), width, (*status, (" ", "")))


def side_status(state: ChatState, at: int, now: float) -> Line:
    """Return what a side does now: waiting, loading, answering, or how its newest answer went."""
    side, job = state.sides[at], state.job
    if side.error:
        return (("✗ ", "red"), (cut_end(clean_line(side.error), 40), "red"))
    turn = state.turn
    answer = None if turn is None else turn.answers.get(at)
    if state.is_over or (answer is not None and answer.is_over):
        return _ended_status(answer) or ((("ended", "dim"),) if state.is_over else ())
    if state.trouble or state.left_open is not None:
        return ()
    if job is None or isinstance(job, Queued):
        return _waiting_status(job)
    if not side.is_ready:
        words = phase(job) if isinstance(job, Running) else "starting"
        return ((f"{MARKS['running'].mark} ", "cyan"), (words, "cyan"))
    if answer is None:
        return (("ready", "dim"),)
    if not answer.pieces:
        earlier = next(one for one in state.turns if at in one.answers and not one.answers[at].is_over)
        words = "thinking" if earlier is turn else "waits for the prompt before"
        return ((f"{MARKS['running'].mark} ", "cyan"), (words, "cyan"))
    speed = "" if answer.speed is None else f" {_rate(answer.speed)}"
    return ((f"{MARKS['running'].mark} ", "cyan"), (f"answering{speed}", "cyan"))


def _waiting_status(job: Queued | None) -> Line:
    if job is None:
        return (("opening …", "dim"),)
    mark: Span = (f"{MARKS['queued'].mark} ", "queued")
    place = f"{ordinal(job.place)} in the queue" if job.place else "waits in Slurm"
    because = f", {clean_line(job.because)}" if job.because else ""
    return (mark, (cut_end(f"{place}{because}", 44), ""))


def _ended_status(answer: Answer | None) -> Line:
    if answer is None:
        return ()
    if answer.error:
        return (("✗ error", "red"),)
    if answer.end is None:
        return (("ended", "dim"),)
    end = answer.end
    first = f", first after {exact_span(end.first_s)}" if end.first_s else ""
    style: StyleName = "dim"
    speed = f", {_rate(end.tokens / end.took_s)}" if end.took_s > 0 and end.tokens > 1 else ""
    return ((f"{counted(end.tokens, 'token')} in {exact_span(end.took_s)}{first}{speed}", style),)


def _rate(speed: float) -> str:
    return f"{speed:,.0f} tok/s" if speed >= 9.95 else f"{speed:.1f} tok/s"


def waiting_words(state: ChatState) -> str:
    """Return what is still to be answered: '2 prompts wait'; empty for nothing beside the one in progress."""
    waiting = sum(not turn.is_over for turn in state.turns) - 1 + len(state.unsent)
    return (
        f"{count(waiting)} more {'prompt waits' if waiting == 1 else 'prompts wait'}" if waiting > 0 else ""
    )


# --- the prompt line -------------------------------------------------------------------------------------------


def prompt_lines(state: ChatState, width: int, rows: int) -> list[Line]:
    """Return the prompt line: a rule that says what is typed, then the text in at most `rows` rows."""
    title, aside = _prompt_title(state)
    lines = [rule(((cut_end(title, width - 8), "bold" if state.is_typing else "dim"),), width, aside)]
    if not state.is_typing and not state.entry.text:
        hint: Line = () if state.is_closed else (("   ", ""), ("i", "key"), (" types a prompt", "dim"))
        return [*lines, hint]
    text = prompt_entry.drawn(state.entry, width - 4, rows, has_cursor=state.is_typing)
    mark: Span = (" > ", "key" if state.is_typing else "dim")
    return [*lines, *((mark if not at else ("   ", ""), *line) for at, line in enumerate(text))]


def _prompt_title(state: ChatState) -> tuple[str, Line]:
    if state.keeping is not None:
        return f"reference answer for {clean_line(state.keeping.to)}", ()
    at_hand = state.at_hand
    waiting = waiting_words(state)
    aside: Line = ((waiting, "dim"), (" ", "")) if waiting else ()
    if at_hand is None:
        return ("prompt, a new conversation" if state.is_fresh and state.turns else "prompt"), aside
    template = ", without the chat template" if at_hand.raw else ""
    return f"prompt: {clean_line(at_hand.label)}, a new conversation{template}", aside
