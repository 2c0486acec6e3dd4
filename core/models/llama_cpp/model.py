"""A GGUF file opened by llama.cpp, which runs in a process of its own: a crash there is one error here.

with open_model(path, context=4096) as model:
    model.facts                                   architecture, context, template, stops
    model.tokenize(["Hi"])                        [[9690]]
    model.score([(prompt_ids, answer_ids)])       [Scored(log_prob=-3.1, is_greedy=False, tokens=4)]
    for token in model.generate(prompt_ids, 200, Sampling(temperature=0.7, seed=1)): print(token.text)
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.models.llama_cpp import messages
from finetop.core.models.llama_cpp.messages import Facts, Sampling
from finetop.core.models.llama_cpp.quants import QUANTS
from finetop.core.runtime import cgroups, parts
from finetop.core.runtime.child import last_line
from finetop.core.runtime.job_process import users_environment
from finetop.core.runtime.processes import python
from finetop.core.runtime.torch_fits import VISIBLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODULE = "finetop.core.models.llama_cpp.serve"
ENDS_S = 5.0
# Its threads meet at barriers after every operation. Where others use the cores too, spinning there is deadly: with two
# threads on two busy cores 30 tokens of a 135M model took 42 s, with 20,000 spins 22 s, with 1,000 5 s.
SPINS = {"GOMP_SPINCOUNT": "1000"}
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Scored:
    """What a model makes of one continuation: its log-probability (nats), and whether it is the greedy answer."""

    log_prob: float
    is_greedy: bool
    tokens: int


@dataclass(frozen=True)
class Generated:
    """One token of an answer, and the text that is complete with it (empty amid a character)."""

    id: int
    text: str
    ends: bool = False  # a token that ends the answer; its text is empty


@contextmanager
def open_model(path: Path, context: int = 4096, threads: int = 0, *, exact: bool = False) -> Iterator[Model]:
    """Load a file for the block; `context` 0 reads only its vocabulary, `threads` 0 uses OMP_NUM_THREADS or all cores.

    `exact` computes with a float32 cache and plain kernels, for proofs: slower. Raises BadInput for a file that
    llama.cpp can't load, EnvironmentTrouble if it isn't installed or can't run here.
    """
    with started() as process:
        yield process.open(path, context, threads, exact=exact)


def require() -> None:
    """Check that llama.cpp is installed. Raises EnvironmentTrouble."""
    parts.require("llama_cpp_py_sync")


class Model:
    """A loaded file. One request at a time: it isn't shared between threads."""

    def __init__(self, process: Process, facts: Facts) -> None:
        self.facts = facts
        self._process = process

    def tokenize(self, texts: Sequence[str], *, add_special: bool = True) -> list[list[int]]:
        """Return each text's tokens: with what the file prepends, and special tokens known by their text."""
        return self._process.ask(messages.Tokenize(list(texts), add_special), messages.TokenLists).ids

    def vocabulary(self) -> list[str]:
        """Return every token as the file stores it."""
        return self._process.ask(messages.Vocabulary(), messages.Texts).texts

    def logits(self, ids: Sequence[int], start: int = 0) -> NDArray[np.float32]:
        """Return the logits after each token from `start` on [tokens, vocabulary].

        A long text is read in pieces, each with `start` where the last one ended: nothing is read twice.
        """
        reply = self._process.ask(messages.Logits(list(ids), start), messages.Floats)
        return np.frombuffer(reply.data, dtype=np.float32).reshape(reply.rows, reply.columns)

    def score(self, requests: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Scored]:
        """Score continuations, each given its context's tokens (at least one), in the order given.

        What a request's beginning has in common with the previous one's is not read again: choices of one
        question should follow one another.
        """
        scored = []
        for context, continuation in requests:
            request = messages.Score([*context, *continuation], len(context))
            reply = self._process.ask(request, messages.LogProbs)
            scored.append(Scored(sum(reply.values), all(reply.likeliest), len(continuation)))
        return scored

    def generate(
        self, ids: Sequence[int], most: int, sampling: Sampling | None = None
    ) -> Generator[Generated, None, None]:
        """Yield an answer token by token, up to `most` or the one that ends it; closing the iterator stops it.

        It ends early where the context is full. What the prompt has in common with the last conversation is not read
        again. Raises BadInput for a prompt that doesn't fit.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._process.ask(messages.Begin(list(ids), sampling or Sampling()), messages.Done)
        for count in range(1, min(most, self.facts.context - len(ids)) + 1):
            while not isinstance(token := self._process.exchange(messages.Step()), messages.Token):
                pass  # first the prompt, a batch at a time
            is_last = token.ends or count == most
            text = decoder.decode(b"" if token.ends else token.piece, final=is_last)
            yield Generated(token.id, text, token.ends)
            if token.ends:
                return


class Process:
    """The process that holds llama.cpp, and the two pipes to it."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Any) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process, self.errors = process, errors
        self.requests, self.answers = process.stdin, process.stdout

    def open(self, path: Path, context: int = 4096, threads: int = 0, *, exact: bool = False) -> Model:
        """Load a file in place of the last one: see `open_model`."""
        request = messages.Load(str(path), context, threads or _cores(), exact)
        try:
            return Model(self, self.ask(request, Facts))
        except BadInput as error:
            raise BadInput(f"{path}: {error.message}.") from error

    def quantize(self, source: Path, target: Path, kind: str, threads: int = 0) -> None:
        """Write a float GGUF file in another number format: a name of QUANTS; the loaded file goes out of memory."""
        request = messages.Quantize(str(source), str(target), QUANTS[kind].number, threads or _cores())
        try:
            self.ask(request, messages.Done)
        except BadInput as error:
            raise BadInput(f"{target.name}: {error.message}.") from error

    def ask(self, request: messages.Request, kind: type[Answer]) -> Answer:
        """Send a request and return the answer, which is of this kind. Raises as `exchange`."""
        reply = self.exchange(request)
        assert isinstance(reply, kind), reply
        return reply

    def exchange(self, request: messages.Request) -> messages.Reply:
        """Send a request and return the answer. Raises BadInput if it is refused, FinetopError for a crash."""
        try:
            messages.send(self.requests, request)
            reply: messages.Reply | None = messages.receive(self.answers, messages.Reply)
        except OSError:
            reply = None
        if reply is None:
            raise self._crash()
        if isinstance(reply, messages.Refusal):
            raise BadInput(reply.message)
        return reply

    def _crash(self) -> FinetopError:
        """Return the error of a process that ended."""
        code = self.process.wait()
        self.errors.seek(0)
        line = last_line(self.errors.read())
        if code == -signal.SIGILL:
            hint = "Run it on a machine with a newer CPU."
            return EnvironmentTrouble("this CPU lacks AVX2, FMA or F16C, which llama.cpp needs.", hint=hint)
        if code == -signal.SIGKILL:
            hint = "It may have run out of memory: use a smaller context or fewer bits."
            return EnvironmentTrouble("llama.cpp's process was killed.", hint=hint)
        if code < 0:
            return FinetopError(f"llama.cpp crashed ({signal.Signals(-code).name}): {line}")
        return EnvironmentTrouble(f"llama.cpp can't run here: {line}")


@contextmanager
def started() -> Iterator[Process]:
    """Start a process, and end it after the block. Raises EnvironmentTrouble if llama.cpp is not installed."""
    require()
    with tempfile.TemporaryFile() as errors:
        pipe, command = subprocess.PIPE, python(MODULE)
        # a build for CUDA would put the model on a GPU that nobody gave it
        environment = SPINS | users_environment() | {VISIBLE: ""}
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, env=environment)
        assert process.stdin is not None and process.stdout is not None
        try:
            yield Process(process, errors)
        finally:
            process.kill()  # it has nothing to save
            process.wait(ENDS_S)
            for end in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    end.close()


def _cores() -> int:
    """Return how many threads compute by default: OMP_NUM_THREADS, as for torch, else the usable cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else cgroups.cores()
