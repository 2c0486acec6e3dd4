"""The state of a chat as its client sees it: the transcript of each side, what was not sent yet, and the view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from finetop.core.features.chat.messages import (
    AskChat,
    ChatLine,
    ChatPrompt,
    ChatSettings,
    ChatSide,
    KeepAnswer,
)
from finetop.core.protocol.runs import Ended, JobRow, State
from finetop.tui.text import wrapped
from finetop.tui.widgets.entry import Entry, entry_of

BASE, TUNED = ChatSide("base", "base"), ChatSide("tuned", "checkpoint")
LIMIT = 1 << 22  # bytes of a line of an answer that are shown
RAW_TOKENS = 64  # of an answer to an item that is put without the chat template
USUAL_SIDES = (BASE, TUNED)


@dataclass
class Answer:
    """One side's answer to a prompt, as far as it has arrived."""

    since: float = 0.0  # when it became its turn, by this client's clock
    pieces: list[str] = field(default_factory=list)
    first_at: float = 0.0  # when its first and its newest piece were written, by the job's clock
    last_at: float = 0.0
    end: ChatLine | None = None
    error: str = ""
    _rows: list[str] = field(default_factory=list)
    _rows_of: tuple[int, int] = (0, 0)  # length of the text, and width, that they are for

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def rows(self, width: int) -> list[str]:
        """Return the text in rows, which are kept for as long as neither the text nor the width changes."""
        text = self.text
        if text and self._rows_of != (len(text), width):
            self._rows, self._rows_of = wrapped(text, width, limit=LIMIT), (len(text), width)
        return self._rows

    @property
    def is_over(self) -> bool:
        return self.end is not None or bool(self.error)

    @property
    def elapsed_s(self) -> float:
        """Seconds from its first piece to its newest one."""
        return self.last_at - self.first_at


def _kind(settings: ChatSettings | None) -> tuple[str | None, bool]:
    """Return what of some settings stands at the head of a conversation."""
    return (None, False) if settings is None else (settings.system, settings.raw)


@dataclass
class Turn:
    """A prompt, and the answer of each side that it was put to."""

    number: int
    prompt: str
    is_fresh: bool = False  # it begins a conversation
    begins: bool = False  # that, or what it is sent with differs from the turn before
    settings: ChatSettings | None = None
    at_hand: ChatPrompt | None = None
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """The reference answer of a prompt at hand."""
        return "" if self.at_hand is None else self.at_hand.expected

    @property
    def is_over(self) -> bool:
        return all(answer.is_over for answer in self.answers.values())

    def pass_on(self, now: float) -> None:
        """Note that an answer has ended, for those that have not begun."""
        for answer in self.answers.values():
            if not answer.pieces and not answer.is_over:
                answer.since = now


@dataclass
class Side:
    """One model of the chat, and which rows of its pane are in view."""

    model: ChatSide
    is_ready: bool = False
    error: str = ""  # why it can't answer at all
    notice: str = ""  # what its reader must know
    first: int | None = None  # the first row in view; None: follow the end


@dataclass
class ChatState:
    """A chat of a run, and what the user does with it."""

    run: str
    sides: list[Side] = field(default_factory=lambda: [Side(model) for model in USUAL_SIDES])
    job_id: int | None = None
    job: State | None = None
    offset: int = 0  # of the transcript
    turns: list[Turn] = field(default_factory=list)
    device: str = ""  # in words: where the models are
    notice: str = ""
    ends_at: float = 0.0  # when the chat ends, by this client's clock; 0: no end is near
    trouble: str = ""  # why there is no chat
    left_open: JobRow | None = None  # a chat that another client left open
    is_cut: bool = False  # the supervisor or the link to it is gone
    is_asleep: bool = False  # nobody pressed a key for long: nothing is read
    unsent: list[AskChat] = field(default_factory=list)  # not in the transcript yet, in order
    accepted: set[int] = field(default_factory=set)  # numbers of those that the supervisor has
    settings: ChatSettings = field(default_factory=ChatSettings)
    trained_system: str = ""  # the system prompt that the run was trained with
    picked: dict[int, ChatPrompt] = field(
        default_factory=dict
    )  # prompts that were picked and sent, by number
    at_hand: ChatPrompt | None = None  # the prompt at hand that is on the prompt line
    is_fresh: bool = False  # the next prompt begins a conversation
    own_system: str | None = None  # of a conversation that began with a prompt at hand that has one
    widths: tuple[int, ...] = ()  # of the panes that are side by side, in cells
    chosen: int = 1  # the side that keys act on: at first the tuned one
    is_full: bool = False  # the chosen side alone fills the screen
    turn_at: int | None = None  # the chosen turn; None: the newest
    entry: Entry = field(default_factory=Entry)
    is_typing: bool = True
    keeping: KeepAnswer | None = None  # the answer whose reference is on the prompt line
    draft: str = ""  # the prompt line's text while the history is gone through
    history_at: int | None = None

    # --- the transcript -----------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return isinstance(self.job, Ended)

    @property
    def is_closed(self) -> bool:
        """Whether no prompt can be put."""
        return self.is_over or bool(self.trouble) or self.left_open is not None

    @property
    def is_waiting(self) -> bool:
        """Whether an answer has not begun: its seconds are counted."""
        return not self.is_over and any(
            not answer.pieces and not answer.is_over
            for turn in self.turns
            for answer in turn.answers.values()
        )

    @property
    def is_answering(self) -> bool:
        return not self.is_over and any(not turn.is_over for turn in self.turns)

    @property
    def side_to_stop(self) -> int | None:
        """The side whose answers S ends: the chosen one if it has any open, else the other."""
        unended = {side for turn in self.turns for side, answer in turn.answers.items() if not answer.is_over}
        return self.chosen if self.chosen in unended else next(iter(unended), None)

    @property
    def history(self) -> list[str]:
        """The prompts that were put or wait, oldest first, each once."""
        prompts = [turn.prompt for turn in self.turns] + [ask.text for ask in self.unsent]
        return list(dict.fromkeys(reversed(prompts)))[::-1]

    @property
    def turn(self) -> Turn | None:
        """The turn that keys act on."""
        if not self.turns:
            return None
        return self.turns[-1 if self.turn_at is None else min(self.turn_at, len(self.turns) - 1)]

    @property
    def answer(self) -> Answer | None:
        """The chosen side's answer of the chosen turn."""
        return self.answer_of(self.chosen)

    def answer_of(self, side: int) -> Answer | None:
        """Return a side's answer of the chosen turn."""
        return None if self.turn is None else self.turn.answers.get(side)

    @property
    def next_number(self) -> int:
        numbers = [turn.number for turn in self.turns] + [ask.number for ask in self.unsent]
        return max(numbers, default=0) + 1

    def begin(
        self,
        job_id: int,
        sides: Iterable[ChatSide],
        job: State | None = None,
        *,
        trained_system: str = "",
        notices: Sequence[str] = (),
    ) -> None:
        """Read a chat's transcript from its start; what was not sent yet goes to this chat."""
        self.trained_system = trained_system
        self.sides = [Side(model) for model in sides]
        for side, notice in zip(self.sides, notices, strict=False):
            side.notice = notice
        self.job_id, self.job, self.offset, self.turns = job_id, job, 0, []
        self.device, self.notice, self.ends_at, self.trouble, self.left_open = "", "", 0.0, "", None
        self.picked, self.turn_at = {}, None
        self.chosen = min(self.chosen, len(self.sides) - 1)
        self.accepted = set()
        self.unsent = [replace(ask, job=job_id, number=at) for at, ask in enumerate(self.unsent, 1)]

    def feed(self, lines: Iterable[ChatLine], now: float) -> None:
        """Add lines of the transcript."""
        for line in lines:
            self._feed(line, now)

    def _feed(self, line: ChatLine, now: float) -> None:
        sides = range(len(self.sides)) if line.side < 0 else [line.side] * (line.side < len(self.sides))
        match line.kind:
            case "ready":
                for side in sides:
                    self.sides[side].is_ready, self.sides[side].error = True, ""
                self.device = line.text
            case "prompt":
                turn = self._turn(line.number)
                turn.prompt, turn.is_fresh = line.text, line.fresh
                turn.settings, turn.at_hand = line.settings, self.picked.get(line.number)
                before = self.turns[-2].settings if len(self.turns) > 1 else None
                turn.begins = line.fresh or _kind(before) != _kind(line.settings)
                for side in line.sides or sides:
                    turn.answers.setdefault(side, Answer(now))
                self.unsent = [ask for ask in self.unsent if ask.number != line.number]
            case "text":
                for side in sides:
                    answer = self._turn(line.number).answers.setdefault(side, Answer())
                    answer.pieces.append(line.text)
                    answer.first_at, answer.last_at = answer.first_at or line.at, line.at
            case "end":
                for side in sides:
                    self._turn(line.number).answers.setdefault(side, Answer()).end = line
                self._turn(line.number).pass_on(now)
            case "error":
                for side in sides:
                    if line.number:
                        self._turn(line.number).answers.setdefault(side, Answer()).error = line.text
                    else:
                        self.sides[side].error = line.text
            case "notice" if line.side >= 0:
                for side in sides:
                    self.sides[side].notice = line.text
            case "notice":
                self.notice = line.text
                # its countdown goes by the difference of two moments of one machine: clocks may disagree
                left = line.ends_at - line.at
                self.ends_at = now + left if line.ends_at else 0.0

    def _turn(self, number: int) -> Turn:
        for turn in reversed(self.turns):
            if turn.number == number:
                return turn
        self.turns.append(Turn(number, ""))
        return self.turns[-1]

    # --- the prompt line ------------------------------------------------------------------------------------

    @property
    def settings_to_send(self) -> ChatSettings:
        """The settings that the prompt on the prompt line is sent with."""
        at_hand, settings = self.at_hand, self.settings
        if at_hand is not None and at_hand.raw:  # a model goes on and on after an item of a benchmark
            most = min(RAW_TOKENS, settings.max_new_tokens)
            return replace(settings, system="", raw=True, max_new_tokens=most)
        system = at_hand.system if at_hand is not None else None if self.is_fresh else self.own_system
        return settings if system is None else replace(settings, system=system)

    def system_of(self, settings: ChatSettings) -> str:
        """Return the system prompt of some settings, empty for none."""
        return self.trained_system if settings.system is None else settings.system

    def to_send(self) -> AskChat | None:
        """Take the prompt off the prompt line as the request that puts it; None for an empty one.

        A prompt typed before the chat is open gets its job when it is (begin).
        """
        text = self.entry.text
        if not text.strip():
            return None
        at_hand, settings = self.at_hand, self.settings_to_send
        is_fresh = self.is_fresh or at_hand is not None
        if is_fresh:
            self.own_system = None if at_hand is None else at_hand.system
        ask = AskChat(self.run, self.job_id or 0, self.next_number, text, settings, is_fresh)
        if at_hand is not None:
            self.picked[ask.number] = at_hand
        self.unsent.append(ask)
        self.entry, self.at_hand, self.is_fresh = Entry(), None, at_hand is not None and at_hand.raw
        self.draft, self.history_at, self.turn_at = "", None, None
        for side in self.sides:
            side.first = None
        return ask

    def renumber(self) -> None:
        """Move the prompts that were not accepted up by one number: another client has put one with theirs."""
        before = [ask.number for ask in self.unsent if ask.number not in self.accepted]
        self.picked = {number + (number in before): prompt for number, prompt in self.picked.items()}
        self.unsent = [replace(ask, number=ask.number + (ask.number in before)) for ask in self.unsent]

    def put_at_hand(self, prompt: ChatPrompt) -> None:
        """Put a prompt at hand on the prompt line."""
        self.at_hand, self.entry, self.is_typing = prompt, entry_of(prompt.text), True

    def recall(self, by: int) -> bool:
        """Put an earlier (-1) or later (1) prompt on the prompt line; return whether there is one."""
        history = self.history
        at = len(history) if self.history_at is None else self.history_at
        if self.history_at is None:
            self.draft = self.entry.text
        if not 0 <= at + by <= len(history) or (by > 0 and self.history_at is None):
            return False
        at += by
        text = self.draft if at == len(history) else history[at]
        self.history_at = None if at == len(history) else at
        self.entry, self.at_hand = entry_of(text), None
        return True

    def go_to_turn(self, by: int) -> bool:
        """Choose an earlier (-1) or later (1) turn; return whether there is one."""
        last = len(self.turns) - 1
        at = (last if self.turn_at is None else self.turn_at) + by
        if not 0 <= at <= last:
            return False
        self.turn_at = None if at == last else at
        return True
