"""What model.py and its process (serve.py) say to each other over two pipes: msgpack behind a length of 4 bytes."""

from __future__ import annotations

import struct
from typing import IO, Any, TypeAlias

import msgspec

LENGTH = struct.Struct("<I")


class Load(msgspec.Struct, tag=True, frozen=True):
    """Load a file; answered by Facts. Without a context (0) only its vocabulary is read."""

    path: str
    context: int
    threads: int
    exact: bool  # a float32 cache and the plain kernels, for proofs; else llama.cpp's defaults


class Tokenize(msgspec.Struct, tag=True, frozen=True):
    """Answered by TokenLists."""

    texts: list[str]
    add_special: bool


class Vocabulary(msgspec.Struct, tag=True, frozen=True):
    """Answered by Texts: each token as the file stores it."""


class Logits(msgspec.Struct, tag=True, frozen=True):
    """Answered by Floats: all logits after each of the tokens from `start` on."""

    ids: list[int]
    start: int


class Score(msgspec.Struct, tag=True, frozen=True):
    """Answered by LogProbs: of the tokens of `ids` from `start` on, given all before each."""

    ids: list[int]
    start: int


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Set a prompt, answered by Done; then Step reads of it, or generates."""

    ids: list[int]
    sampling: Sampling


class Step(msgspec.Struct, tag=True, frozen=True):
    """Answered by Done while the prompt is read, then by a Token each."""


class Quantize(msgspec.Struct, tag=True, frozen=True):
    """Answered by Done."""

    source: str
    target: str
    file_type: int
    threads: int


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is drawn; at temperature 0 it is the likeliest."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Facts(msgspec.Struct, tag=True, frozen=True):
    """What a loaded file is."""

    name: str
    tokens: int  # in the vocabulary
    trained_context: int
    context: int  # at most this many tokens, prompt and answer; 0: only the vocabulary is loaded
    template: str | None
    bos: int  # -1: none, as all of these
    eos: int
    stops: list[int]  # all tokens that end an answer for llama.cpp
    formats: dict[str, int]  # number formats of its tensors, and of how many
    layers: int = 0  # as its head says; 0: it doesn't
    width: int = 0


class TokenLists(msgspec.Struct, tag=True, frozen=True):
    ids: list[list[int]]


class Texts(msgspec.Struct, tag=True, frozen=True):
    texts: list[str]


class Floats(msgspec.Struct, tag=True, frozen=True):
    """An array [rows, columns] of float32."""

    rows: int
    columns: int
    data: bytes


class LogProbs(msgspec.Struct, tag=True, frozen=True):
    """The log-probability (nats) of each token, and whether it was the likeliest."""

    values: list[float]
    likeliest: list[bool]


class Token(msgspec.Struct, tag=True, frozen=True):
    id: int
    piece: bytes  # of UTF-8; a character may be spread over several tokens
    ends: bool  # it ends the answer


class Done(msgspec.Struct, tag=True, frozen=True):
    pass


class Refusal(msgspec.Struct, tag=True, frozen=True):
    """The request can't be done; the process goes on."""

    message: str


Request: TypeAlias = Load | Tokenize | Vocabulary | Logits | Score | Begin | Step | Quantize
Reply: TypeAlias = Facts | TokenLists | Texts | Floats | LogProbs | Token | Done | Refusal


def send(pipe: IO[bytes], message: Request | Reply) -> None:
    """Write one message. Raises OSError."""
    data = msgspec.msgpack.encode(message)
    pipe.write(LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes], kind: Any) -> Any:
    """Read one message of a kind, or of one of a union; None at the end of the pipe, also amid a message."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    data = pipe.read(size)
    return msgspec.msgpack.decode(data, type=kind) if len(data) == size else None
