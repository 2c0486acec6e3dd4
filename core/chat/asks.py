"""Reads what a chat is asked, in a thread of its own: a stop and a notice don't wait for an answer's end."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from finetop.core.chat import transcript as files
from finetop.core.protocol.events import Sample
from finetop.core.protocol.messages.chat import ChatLine

if TYPE_CHECKING:
    from finetop.core.chat.transcript import Keep, Prompt, Transcript
    from finetop.core.recipe.job import Job

LOOK_S = 0.05  # between two looks: a stop takes effect within a token
SHOWN = 2000  # characters of a prompt in a sample's event
A_CHAT = 1000  # prompts of a chat whose samples have numbers of their own
EVERY = 2**62  # more than any prompt's number


class Asks:
    """What a chat is asked, as it comes. Once nobody reads the answers any more, `waiting` gets None."""

    def __init__(self, job: Job, transcript: Transcript, *, behind: int = 0) -> None:
        self.waiting: queue.SimpleQueue[Prompt | None] = queue.SimpleQueue()
        self.failure: BaseException | None = None  # of this thread: the disk is full
        self._job, self._transcript = job, transcript
        self._behind = behind  # bytes that an earlier attempt of this job has read
        self._offset = 0
        self._newest = 0
        self._stopped_through = 0
        self._presence = files.Presence(job.folder)

    def start(self) -> None:
        threading.Thread(target=self._run, name="asks", daemon=True).start()

    def is_stopped(self, number: int) -> bool:
        """Return whether the answers to a prompt are to end."""
        return number <= self._stopped_through

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
                case files.StopLine():
                    self._stopped_through = self._newest
                case files.MakeRoom() if not known:
                    at = files.now_rounded()
                    self._transcript.write(ChatLine("notice", at, text=line.text, ends_at=line.ends_at))
                case files.Keep() if not known:
                    self._keep(line)

    def _keep(self, line: Keep) -> None:
        """Report an answer as a sample, beside those of the same prompt by other sides."""
        index = self._job.spec.job_id * A_CHAT + line.number % A_CHAT
        self._job.events.write(Sample(line.step, index, line.prompt[:SHOWN], line.text))
