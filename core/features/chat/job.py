"""The chat job: loads the sides, answers what it is asked until it is closed, and ends when nobody reads."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from finetop.core.data.formats import Message
from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.chat import transcript as files
from finetop.core.features.chat.messages import ChatLine
from finetop.core.features.chat.sides import KEY_VARIABLE, KIND, Answered, Opening, Request, SideKind, Writer
from finetop.core.features.chat.transcript import Transcript
from finetop.core.models import devices
from finetop.core.protocol.events import Ended, Phase, Sample
from finetop.core.runtime import failures
from finetop.core.runtime.files import size_of
from finetop.core.runtime.job_process import silence_libraries

if TYPE_CHECKING:
    from finetop.core.features.chat.transcript import Keep, Prompt, Side
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft")
IF_STOPPED = "the chat was closed"
NOBODY = "nobody read for ten minutes"
ELSEWHERE = "none: its sides answer elsewhere"
INTERRUPTED = "the answer was cut off: the chat was started again"
LOOK_S = 0.05  # between two looks: a stop takes effect within a token
SHOWN = 2000  # characters of a prompt in a sample's event
A_CHAT = 1000  # prompts of a chat whose samples have numbers of their own
EVERY = 2**62  # more than any prompt's number


def work(job: Job) -> Ended:
    """Load the sides, then answer until nobody reads any more."""
    sides, transcript = sides_of(job), Transcript(job.folder)
    earlier = files.all_answers(job.folder)
    asks = Asks(job, transcript, behind=size_of(job.folder / files.ASKS) if earlier else 0)
    asks.start()  # what is announced is heard while models load
    device, writers = open_sides(job, sides, transcript.tell)
    chat = Chat(writers, transcript, asks)
    chat.go_on(earlier)
    transcript.write(ChatLine("ready", files.now_rounded(), text=device))
    job.events.write(Phase("open"))
    while (prompt := asks.waiting.get()) is not None:
        chat.answer(prompt)
    if asks.failure is not None:
        raise asks.failure
    transcript.write(ChatLine("notice", files.now_rounded(), text=f"{NOBODY}: the chat has ended."))
    return Ended("finished", NOBODY)


def sides_of(job: Job) -> list[Side]:
    """Read the sides from job.json. Raises BadInput."""
    try:
        sides = files.sides_of(job.args)
    except msgspec.ValidationError as error:
        raise BadInput(f"job.json: args.sides: {error}.", hint="Open the chat again.") from error
    if not sides:
        raise BadInput("job.json: args.sides is empty.", hint="Open the chat again.")
    return sides


def open_sides(job: Job, sides: Sequence[Side], tell: Callable[[int, str], None]) -> tuple[str, list[Writer]]:
    """Load or connect all sides. Return the device in words, and what answers. Raises FinetopError."""
    kinds = [KIND.load(side.side.kind) for side in sides]
    keys = {place: os.environ.pop(f"{KEY_VARIABLE}{place}", "") for place in range(len(sides))}
    device = open_device(job, kinds)
    words = devices.describe_device(device) if device else ELSEWHERE
    dtype = devices.number_format(job.dtype, None, device) if device else ""
    job.started(words, dtype, PACKAGES if device else PACKAGES[:1])
    opening = Opening(job.home, device, job.events, tell, keys)
    writers: dict[int, Writer] = {}
    for place in sorted(range(len(sides)), key=lambda place: kinds[place].opens_last):
        writers[place] = kinds[place].open(sides[place], place, opening)
    return words, [writers[place] for place in range(len(sides))]


def open_device(job: Job, kinds: Sequence[SideKind]) -> str:
    """Choose the device and import the libraries, if a side computes with them; else return an empty string."""
    if not any(kind.needs_model for kind in kinds):
        return ""
    silence_libraries()
    if job.args.get("on_cpu") is not True:
        return devices.open_device(job.gpu_gib)
    devices.import_libraries()
    return "cpu"


class Asks:
    """What a chat is asked, read in a thread of its own: a stop and a notice don't wait for an answer's end.

    Once nobody reads the answers any more, `waiting` gets None.
    """

    def __init__(self, job: Job, transcript: Transcript, *, behind: int = 0) -> None:
        self.waiting: queue.SimpleQueue[Prompt | None] = queue.SimpleQueue()
        self.failure: BaseException | None = None  # of this thread: the disk is full
        self._job, self._transcript = job, transcript
        self._behind = behind  # bytes that an earlier attempt of this job has read
        self._offset = 0
        self._newest = 0
        self._stopped_through = 0
        self._side_stopped_through: dict[int, int] = {}
        self._presence = files.Presence(job.folder)

    def start(self) -> None:
        threading.Thread(target=self._run, name="asks", daemon=True).start()

    def is_stopped(self, number: int, side: int) -> bool:
        """Return whether a side's answer to a prompt is to end."""
        return number <= max(self._stopped_through, self._side_stopped_through.get(side, 0))

    def _run(self) -> None:
        try:
            while self._presence.absent_s() < files.ABSENT_S:
                self._read()
                self._transcript.flush()
                time.sleep(LOOK_S)
        except BaseException as error:  # raised in the main thread
            self.failure = error
        self._stopped_through = EVERY
        self.waiting.put(None)

    def _read(self) -> None:
        begin, known = self._offset, self._offset < self._behind
        lines, self._offset = files.read_asks(self._job.folder, begin)
        for line in lines:
            match line:
                case files.Prompt():
                    self._newest = max(self._newest, line.number)
                    self.waiting.put(line)
                case files.StopLine(side=None):
                    self._stopped_through = self._newest
                case files.StopLine(side=int(side)):
                    self._side_stopped_through[side] = self._newest
                case files.MakeRoom() if not known:
                    at = files.now_rounded()
                    self._transcript.write(ChatLine("notice", at, text=line.text, ends_at=line.ends_at))
                case files.Keep() if not known:
                    self._keep(line)

    def _keep(self, line: Keep) -> None:
        """Report an answer as a sample, beside those of the same prompt by other sides."""
        index = self._job.spec.job_id * A_CHAT + line.number % A_CHAT
        self._job.events.write(Sample(line.step, index, line.prompt[:SHOWN], line.text))


@dataclass
class Chat:
    """The conversations of all sides, each with its own turns."""

    writers: Sequence[Writer]
    transcript: Transcript
    asks: Asks
    turns: list[list[Message]] = field(default_factory=list)
    begun: int = 0  # number of the last prompt that an earlier attempt of this job began

    def __post_init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.turns = [[] for _ in self.writers]
        for writer in self.writers:
            writer.forget()

    def go_on(self, earlier: Sequence[ChatLine]) -> None:
        """Take up the conversations that an earlier attempt of this job left; answers that it cut off get their end."""
        prompt, answers, unended = "", [""] * len(self.writers), set[int]()
        for line in earlier:
            if line.kind == "prompt":
                self.begun, prompt, answers = line.number, line.text, [""] * len(self.writers)
                unended = set(line.sides or range(len(self.writers)))
                if line.fresh:
                    self._forget()
            elif line.kind == "text":
                answers[line.side] += line.text
            elif line.kind in ("end", "error") and line.side >= 0:
                unended.discard(line.side)
                if line.kind == "end":
                    self._remember(line.side, prompt, answers[line.side])
        for place in sorted(unended):
            self._fail(place, self.begun, INTERRUPTED)

    def _remember(self, place: int, prompt: str, answer: str) -> None:
        self.turns[place] += [Message("user", prompt), Message("assistant", answer)]

    def answer(self, prompt: Prompt) -> None:
        """Let the sides answer that are asked: those that compute here one after the other, others meanwhile."""
        if prompt.number <= self.begun:
            return
        self.transcript.write(
            ChatLine(
                "prompt",
                files.now_rounded(),
                number=prompt.number,
                text=prompt.text,
                fresh=prompt.fresh,
                sides=prompt.sides,
                settings=prompt.settings,
            )
        )
        if prompt.fresh:
            self._forget()
        asked = sorted(
            prompt.sides or range(len(self.writers)), key=lambda place: place != prompt.settings.first
        )
        threads = [
            threading.Thread(target=self._answer, args=(place, prompt), daemon=True)
            for place in asked
            if not self.writers[place].answers_alone
        ]
        for thread in threads:
            thread.start()
        for place in asked:
            if self.writers[place].answers_alone:
                self._answer(place, prompt)
        for thread in threads:
            thread.join()

    def _answer(self, place: int, prompt: Prompt) -> None:
        """Let one side answer, and write how that ended."""
        settings, pieces, began = prompt.settings, list[str](), time.monotonic()
        system = [Message("system", settings.system)] if settings.system and not settings.raw else []
        earlier = [] if settings.raw else self.turns[place]

        def piece(text: str) -> None:
            pieces.append(text)
            self.transcript.piece(place, prompt.number, text)

        request = Request(
            messages=[*system, *earlier, Message("user", prompt.text)],
            settings=settings,
            piece=piece,
            is_stopped=lambda: self.asks.is_stopped(prompt.number, place),
        )
        try:
            answered = self.writers[place].answer(request)
            self._end(place, prompt, answered, began, "".join(pieces))
        except FinetopError as error:
            self._fail(place, prompt.number, str(error))
        except Exception as error:  # a bug, or a library's: the chat goes on, the log has the traceback
            traceback.print_exc()
            end = failures.ended(error)
            self._fail(place, prompt.number, f"{end.cause} {end.hint}".strip())

    def _end(self, place: int, prompt: Prompt, answered: Answered, began: float, text: str) -> None:
        """Remember an answer, and write how it ended."""
        if not prompt.settings.raw:
            self._remember(place, prompt.text, text)
        self.transcript.write(
            ChatLine(
                "end",
                files.now_rounded(),
                side=place,
                number=prompt.number,
                why=answered.why,
                tokens=answered.tokens,
                first_s=round(answered.first_s, 4),
                took_s=round(time.monotonic() - began, 4),
                prompt_tokens=answered.prompt_tokens,
            )
        )

    def _fail(self, place: int, number: int, message: str) -> None:
        self.transcript.write(ChatLine("error", files.now_rounded(), side=place, number=number, text=message))
