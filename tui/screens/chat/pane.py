"""The lines of the Chat screen: its title, its settings, and a side's pane with all its turns."""

from __future__ import annotations

from finetop.core.features.chat import wording
from finetop.core.protocol.runs import Failed, Lost, Queued, Running
from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import clock, long_span
from finetop.tui.screens.chat import prompt_entry
from finetop.tui.screens.chat.state import LIMIT, Answer, ChatState, Side, Turn
from finetop.tui.screens.chat.status import side_title, waiting_words
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

EARLIER_ROWS = 3  # of a prompt above its answer
NOTICE_ROWS = 4
LEAST_SYSTEM = 8  # cells of a system prompt's text


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
    if state.is_asleep:
        text = "paused: no key for 10 min; any key goes on, else the chat ends soon"
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
    is_served = all(side.model.kind == "endpoint" for side in state.sides)
    return ((f"on {clean_line(state.device)}", "dim"),) if state.device and not is_served else ()


def _countdown(state: ChatState, room: int, now: float) -> Line:
    left = max(0.0, state.ends_at - now)
    when = "now" if left < 1 else f"in {long_span(left)}"
    reason = clean_line(state.notice).rstrip(".").partition(": this chat")[0]
    text = f"{reason}: this chat ends {when}" if reason else f"this chat ends {when}"
    if len(text) > room - 2:
        text = f"this chat ends {when}"
    return (("! ", "amber mark"), (text, "amber"))


def settings_line(state: ChatState, width: int) -> Line:
    """Return what the prompt on the prompt line is sent with, in one row."""
    settings = state.settings_to_send
    said, system = wording.system(settings, state.trained_system)
    first = ""
    if settings.first and settings.first < len(state.sides):
        first = f", {cut_end(clean_line(state.sides[settings.first].model.label), 16)} first"
    facts = f" {wording.generation(settings)}{first}   {said}"
    room = width - len(facts) - 3
    text = f"  {cut_end(clean_line(system), room)}" if system and room >= LEAST_SYSTEM else ""
    return ((cut_end(facts, width - 1), "dim"), (text, ""))


# --- a side ----------------------------------------------------------------------------------------------------


def side_lines(state: ChatState, at: int, *, width: int, height: int, now: float) -> list[Line]:
    """Return a side's pane in `height` rows: its title, and the turns in view."""
    side = state.sides[at]
    lines, notice = body_lines(state, at, width), _notice_lines(state, at, width)
    room = max(1, height - 1 - len(notice))
    top = max(0, len(lines) - room) if side.first is None else min(side.first, max(0, len(lines) - room))
    if side.first is not None:
        side.first = None if top >= len(lines) - room else top
    _, shown, where = in_view(lines, top, room)
    return [side_title(state, at, width, where if side.first is not None else "", now), *notice, *shown]


def _notice_lines(state: ChatState, at: int, width: int) -> list[Line]:
    """Return what a side's reader must know, in as many rows as on the side beside it."""

    def rows(side: Side, own_width: int) -> list[str]:
        return wrapped(clean_line(side.notice), own_width - 4, NOTICE_ROWS) if side.notice else []

    lines: list[Line] = [
        ((" ! " if not row else "   ", "amber mark"), (text, "amber"))
        for row, text in enumerate(rows(state.sides[at], width))
    ]
    beside = [len(rows(side, own)) for side, own in zip(state.sides, state.widths, strict=False)]
    return [*lines, *[()] * (max(beside, default=0) - len(lines))]


def scrolled(state: ChatState, at: int, rows: int, *, width: int, height: int) -> bool:
    """Scroll a side's pane by some rows; at its end it follows what is written. Return whether anything moved."""
    side = state.sides[at]
    room = height - 1 - len(_notice_lines(state, at, width))
    last = max(0, len(body_lines(state, at, width)) - room)
    first = last if side.first is None else side.first
    to = min(max(0, first + rows), last)
    side.first = None if to == last else to
    return to != first


def row_of_turn(state: ChatState, at: int, width: int) -> int:
    """Return the row at which the chosen turn begins."""
    rows = 0
    for turn in state.turns:
        if turn is state.turn:
            break
        rows += len(_aligned_lines(state, turn, at, width))
    return rows


def body_lines(state: ChatState, at: int, width: int) -> list[Line]:
    """Return all of a side's turns, then the prompts that were not sent yet."""
    lines: list[Line] = []
    for turn in state.turns:
        lines += _aligned_lines(state, turn, at, width)
    for ask in state.unsent:
        lines += _prompt_lines(ask.text, (" ", ""), width)
        words = "sending …"
        if state.is_over:
            words = "■ not answered: R opens the chat again and puts it there"
        elif ask.number in state.accepted:
            words = "waiting"
        elif state.is_cut:
            words = "not sent yet: no connection"
        lines += [((f" {words}", "dim"),), ()]
    if lines and not lines[-1]:
        lines.pop()
    return lines or _empty_lines(state, at, width)


def _aligned_lines(state: ChatState, turn: Turn, at: int, width: int) -> list[Line]:
    """Return a turn's lines, as many as on the side beside it, so that the next prompt is on the same row."""
    lines = _turn_lines(state, turn, at, width)
    if turn is state.turns[-1]:
        return lines
    beside = [len(_turn_lines(state, turn, side, own)) for side, own in enumerate(state.widths)]
    return [*lines, *[()] * (max(beside, default=0) - len(lines))]


def _turn_lines(state: ChatState, turn: Turn, at: int, width: int) -> list[Line]:
    answer = turn.answers.get(at)
    if answer is None:  # put to the other side alone
        return []
    lines: list[Line] = []
    if turn.is_fresh and turn is not state.turns[0]:
        lines += [rule((("new conversation", "dim"),), width), ()]
    is_chosen = turn is state.turn and at == state.chosen and not state.is_typing
    lines += _prompt_lines(turn.prompt, CURSOR if is_chosen else (" ", ""), width)
    if sent_with := _sent_with(state, turn):
        lines += [((f" {row}", "dim"),) for row in wrapped(sent_with, width - 3, EARLIER_ROWS)]
    if turn.expected:
        expected = wrapped(turn.expected, width - 12, EARLIER_ROWS)
        lines += [
            ((" expected  " if not row else " " * 11, "dim"), (text, "dim"))
            for row, text in enumerate(expected)
        ]
    lines += [((f" {row}", ""),) for row in answer.rows(width - 3)]
    is_raw = turn.settings is not None and turn.settings.raw
    return [*lines, *_ending_lines(state, answer, width, is_raw=is_raw), ()]


def _sent_with(state: ChatState, turn: Turn) -> str:
    """Return what a prompt was sent with, if that is not what the head shows; and how a check asked it."""
    said = []
    if turn.settings is not None and turn.begins and turn.settings.raw:
        said.append("sent as the check sent it: no chat template, no system prompt")
    elif (
        turn.settings is not None and turn.begins and turn.settings.system != state.system_of(state.settings)
    ):
        words, text = wording.system(turn.settings, state.trained_system)
        said.append(f"{words}: {clean_line(text)}" if text else words)
    if turn.at_hand is not None and (how := wording.how_checked(turn.at_hand)):
        said.append(how)
    return "; ".join(said)


def _prompt_lines(prompt: str, mark: Span, width: int) -> list[Line]:
    rows = wrapped(prompt, width - 5, EARLIER_ROWS, limit=LIMIT)
    return [
        ((mark, ("> ", "bold")) if not at else (mark, ("  ", ""))) + ((row, "bold"),)
        for at, row in enumerate(rows)
    ]


def _ending_lines(state: ChatState, answer: Answer, width: int, *, is_raw: bool) -> list[Line]:
    """Return what follows an answer's text: why it ended, or that it has not."""
    if answer.error:
        return [((f" {row}", "red"),) for row in wrapped(f"✗ {answer.error}", width - 3)]
    if answer.end is None:
        if state.is_over:
            return [((" ■ the chat ended here", "dim"),)]
        return [] if answer.pieces else [((" …", "dim"),)]
    if answer.end.why == "length":
        how = "items of a check end there" if is_raw else "s changes the limit"
        return [((f" (cut at {counted(answer.end.tokens, 'token')}; {how})", "dim"),)]
    if answer.end.why == "stopped":
        return [((" (stopped)", "dim"),)]
    return [] if answer.text.strip() else [((" (an empty answer)", "dim"),)]


def _empty_lines(state: ChatState, at: int, width: int) -> list[Line]:
    """Return what to do while nothing was asked yet."""
    if state.trouble:
        return [((f" {row}", "red"),) for row in wrapped(state.trouble, width - 3)] if not at else []
    if state.left_open is not None:
        return _left_open_lines(state, width) if not at else []
    if isinstance(state.job, Failed | Lost):
        return _failure_lines(state.job, width) if not at else []
    if state.is_over:
        return []
    if isinstance(state.job, Queued):
        text = "You can type already: the first prompt is answered once it has started."
    elif state.job_id is None or (isinstance(state.job, Running) and not state.sides[at].is_ready):
        text = "You can type already: the first prompt is answered once the model is loaded."
    else:
        text = "Type a prompt and press enter. esc, then p: prompts of the recipe, test rows, lost items."
    return [((f" {row}", "dim"),) for row in wrapped(text, width - 3)]


def _failure_lines(job: Failed | Lost, width: int) -> list[Line]:
    """Return why the chat failed, in full, and what can be done."""
    hint = job.hint if isinstance(job, Failed) else ""
    cause: list[Line] = [((f" {row}", "red"),) for row in wrapped(f"✗ {clean_line(job.cause)}", width - 3)]
    return cause + [((f" {row}", ""),) for row in wrapped(clean_line(hint), width - 3)]


def _left_open_lines(state: ChatState, width: int) -> list[Line]:
    job = state.left_open
    assert job is not None
    since = f" since {clock(job.state.since)}" if isinstance(job.state, Running) else ""
    text = f"A chat with this run is still open (job {job.id}{since}). Its turns are kept."
    return [((f" {row}", ""),) for row in wrapped(text, width - 3)]


# --- the prompt line -------------------------------------------------------------------------------------------


def prompt_lines(state: ChatState, width: int, rows: int) -> list[Line]:
    """Return the prompt line: a rule that says what is typed, then the text in at most `rows` rows."""
    title, aside = _prompt_title(state)
    lines = [rule(((cut_end(title, width - 8), "bold" if state.is_typing else "dim"),), width, aside)]
    if not state.is_typing and not state.entry.text:
        hint: Line = () if state.is_closed else (("   press ", "dim"), ("i", "key"), (" to type", "dim"))
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
        return ("prompt, new conversation" if state.is_fresh and state.turns else "prompt"), aside
    return f"prompt: {clean_line(at_hand.label)}, new conversation", aside
