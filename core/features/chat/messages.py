"""Chats: two models answer the same prompts side by side, in a job that streams through the supervisor."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from finetop.core.protocol.messages.limits import Done, Large, Whole
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import State

MOST_SIDES = 2
WAIT_S = 10.0  # the longest that a read waits for something new
Seconds = Annotated[float, Meta(ge=0.0, le=WAIT_S)]


class ChatSide(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of a chat: a run's checkpoint, the base of a run, a remedy's model, a GGUF file or an endpoint."""

    label: str  # shown above its answers: "base", "tuned", "RUN@STEP", a file's name
    kind: Literal["base", "checkpoint", "gguf", "endpoint"]
    run: str = ""  # of base and checkpoint; empty: the run that the chat belongs to
    step: Whole | None = None  # of checkpoint; None: the best, else the newest
    remedy: str = ""  # of checkpoint: the model of this remedy
    path: str = ""  # of gguf: absolute, on the supervisor's machine
    url: str = ""  # of endpoint: OpenAI-style, such as http://localhost:8000/v1
    model: str = ""  # of endpoint: the model's name there; empty: the first that it lists
    key_env: str = ""  # of endpoint: the environment variable that holds its key


class ChatOpened(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    sides: list[ChatSide]  # as they were resolved: runs and steps filled in
    system: str = ""  # the system prompt that the run was trained with
    notices: list[str] = []  # of each side, what its reader must know; "" for nothing


class OpenChat(Order[ChatOpened], tag="chat-open", frozen=True):
    """Queue a chat of a run: without sides, its base beside its best or newest checkpoint.

    One that is open with the same sides is returned, with the conversation that it has.
    """

    run: str
    sides: list[ChatSide] = []
    on_cpu: bool = False  # beside whatever runs, without waiting for a GPU
    is_own: bool = False  # never one that is open already, and never offered to others
    keys: dict[str, str] = {}  # of endpoints, by `key_env`: for the job's environment, never stored

    def stored(self) -> OpenChat:
        return replace(self, keys={})


class ChatSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How answers are generated, by all sides alike, and which side begins."""

    system: str | None = None  # None: the one that the run was trained with; empty: none
    temperature: Annotated[float, Meta(ge=0.0, le=5.0)] = 0.0  # 0: greedy
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    seed: Whole = 1
    max_new_tokens: Annotated[int, Meta(ge=1, le=32768)] = 512
    raw: bool = False  # the prompt as it is, without the chat template: an item of a benchmark
    first: Whole = 0  # the side that answers first


class AskChat(Order[Done], tag="chat-ask", frozen=True):
    """Put a prompt to the sides of a chat; each answers with its own turns before it."""

    run: str
    job: Whole
    number: Whole  # of the prompt, from 1; one that was put before is not put again
    text: str
    settings: ChatSettings = ChatSettings()
    fresh: bool = False  # begin a new conversation: earlier turns are forgotten
    sides: list[Whole] = []  # their places; empty: all


class StopAnswers(Order[Done], tag="chat-stop-answers", frozen=True):
    """End the answers to all prompts so far; what was generated of them stays."""

    run: str
    job: Whole
    side: Whole | None = None  # None: all sides


class ChatLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a chat's transcript, in the order in which it happened.

    Each side answers each prompt with `text` lines and then one `end` or `error` line.
    """

    kind: Literal["ready", "prompt", "text", "end", "error", "notice"]
    at: float  # time.time()
    side: int = -1  # -1: all
    number: int = 0  # of the prompt
    text: str = ""  # prompt: its text; text: a piece of the answer; error, notice: in words
    fresh: bool = False  # of prompt
    sides: list[Whole] = []  # of prompt: those that answer it; empty: all
    settings: ChatSettings | None = None  # of prompt
    # of end: how the answer ended, its tokens and times
    why: Literal["", "end", "length", "stopped"] = ""
    tokens: int = 0
    first_s: float = 0.0  # until the first token, since this side began
    took_s: float = 0.0
    prompt_tokens: int = 0
    ends_at: float = 0.0  # of notice: when the chat makes room (time.time()); 0 in a later one: it goes on


class ChatPiece(msgspec.Struct, frozen=True):
    lines: list[ChatLine]
    next: int  # offset to read from next
    state: State  # of the chat's job


class ReadChat(Question[ChatPiece], tag="chat-read", frozen=True):
    """Read a chat's transcript from a byte offset; waits up to `wait_s` for something new. Whoever reads is there."""

    run: str
    job: Whole
    offset: Large = 0
    wait_s: Seconds = 0.0


class CloseChat(Order[Done], tag="chat-close", frozen=True):
    run: str
    job: Whole


class ChatPrompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prompt at hand: of the recipe, a row of the test file, or an item that the check lost."""

    source: Literal["recipe", "test", "lost"]
    label: str  # "row 12", "hellaswag item 481"
    text: str
    system: str | None = None  # None: as the chat's settings say
    expected: str = ""  # the reference answer
    raw: bool = False
    choices: Whole = 0  # answers among which the check chose by their probability; 0: the model wrote


def lost_item(task: str, item: str, question: str, gold: str, choices: int) -> ChatPrompt:
    """Return an item that a check lost as a prompt: as the check put it, without the chat template."""
    return ChatPrompt("lost", f"{task} item {item}", question, expected=gold, raw=True, choices=choices)


class ChatPromptsAnswer(msgspec.Struct, frozen=True):
    prompts: list[ChatPrompt]


class ChatPrompts(Question[ChatPromptsAnswer], tag="chat-prompts", frozen=True):
    """The prompts to pick from for a run: its recipe's, the rows of its test file, and what its newest check lost."""

    run: str
    limit: Whole = 200  # of each source


class KeepAnswer(Order[Done], tag="chat-keep", frozen=True):
    """Keep an answer: as one of the run's samples, or as a row of a test file with the given text as reference.

    A sample needs a chat that is still open.
    """

    run: str
    job: Whole
    number: Whole
    side: Whole
    to: str = ""  # absolute path of a JSON lines file; empty: among the run's samples
    text: str = ""  # in place of the answer's own text
