"""The one binding to llama.cpp, by cffi through the wheel llama-cpp-py-sync; imported by serve.py alone.

It aborts the whole process at a failed assertion, and at an unknown instruction: so nobody else imports it.
"""

from __future__ import annotations

import os
import re
from typing import Any, NoReturn

import numpy as np

from finetop.core.models.llama_cpp.messages import Facts, LogProbs, Sampling, Token

os.environ["GGML_NO_BACKTRACE"] = "1"  # at an assertion it would start a debugger; read when it is loaded

from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

ffi: Any = get_ffi()
lib: Any = get_lib()

BATCH = 512  # tokens of a prompt that are read at once
WARNING, ERROR = 3, 4  # llama.cpp's levels of log lines
FORMAT = re.compile(r"- type +(\w+): +(\d+) tensors")  # how it lists, while loading, what a file holds
LINES = 4  # of the log in a refusal
LONGEST_TEXT = 1 << 20  # bytes of a chat template
log: list[str] = []  # warnings and errors since the last request
formats: dict[str, int] = {}  # of the tensors of the file loaded last


class Impossible(Exception):
    """llama.cpp refuses; the message is its own log's."""


@ffi.callback("void(enum ggml_log_level, const char *, void *)")  # type: ignore[untyped-decorator]
def _hear(level: int, text: Any, _: Any) -> None:
    line = _text(text).rstrip()
    if level in (WARNING, ERROR):
        log.append(line)
    elif listed := FORMAT.search(line):
        formats[listed[1].lower()] = int(listed[2])


lib.llama_log_set(_hear, ffi.NULL)
lib.llama_backend_init()


def refuse(what: str) -> NoReturn:
    """Raise Impossible with the end of llama.cpp's log."""
    raise Impossible("; ".join([what, *log[-LINES:]]))


class Loaded:
    """One GGUF file in memory, with its cache of what it read last."""

    def __init__(self, path: str, context: int, threads: int, *, exact: bool) -> None:
        log.clear()
        formats.clear()
        settings = lib.llama_model_default_params()
        settings.n_gpu_layers = 0
        settings.vocab_only = context == 0
        settings.use_extra_bufts = not exact  # weights repacked for speed: other roundings, and memory
        settings.check_tensors = exact  # refuses NaN and infinity
        self.path, self.exact = path, exact
        self.context = ffi.NULL
        self.sampler = ffi.NULL
        self.model = lib.llama_model_load_from_file(os.fsencode(path), settings)
        if self.model == ffi.NULL:
            refuse("llama.cpp can't load it")
        self.vocabulary = lib.llama_model_get_vocab(self.model)
        self.tokens = int(lib.llama_vocab_n_tokens(self.vocabulary))
        self.cached: list[int] = []  # tokens whose keys and values the context has
        self.room = context
        self.unread: list[int] = []
        self.pending = 0  # the last token generated, which is not read yet; -1: none
        if context:
            self._open(context, threads)

    def _open(self, context: int, threads: int) -> None:
        settings = lib.llama_context_default_params()
        settings.n_ctx = context
        settings.n_batch = settings.n_ubatch = min(BATCH, context)
        settings.n_seq_max = 1
        settings.n_threads = settings.n_threads_batch = threads
        settings.swa_full = True  # else what lies outside of a window can't be reused
        settings.no_perf = True
        if self.exact:
            settings.type_k = settings.type_v = 0  # float32: the default, float16, alone costs 2e-3 nats
            settings.flash_attn_type = 0
        self.context = lib.llama_init_from_model(self.model, settings)
        if self.context == ffi.NULL:
            refuse(f"llama.cpp can't make a context of {context} tokens")

    def close(self) -> None:
        """Free the memory."""
        if self.sampler != ffi.NULL:
            lib.llama_sampler_free(self.sampler)
        if self.context != ffi.NULL:
            lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def facts(self) -> Facts:
        """Return what the file is."""
        ids = range(self.tokens)
        return Facts(
            name=self.metadata("general.name") or "",
            tokens=self.tokens,
            trained_context=int(lib.llama_model_n_ctx_train(self.model)),
            context=self.room,
            template=self.metadata("tokenizer.chat_template"),
            bos=int(lib.llama_vocab_bos(self.vocabulary)),
            eos=int(lib.llama_vocab_eos(self.vocabulary)),
            stops=[number for number in ids if lib.llama_vocab_is_eog(self.vocabulary, number)],
            formats=dict(formats),
            layers=self.count("block_count"),
            width=self.count("embedding_length"),
        )

    def metadata(self, key: str) -> str | None:
        """Return a text or number of the file's head; None if it has no such key."""
        room = ffi.new("char[]", LONGEST_TEXT)
        length = lib.llama_model_meta_val_str(self.model, key.encode(), room, len(room))
        return _text(room) if length >= 0 else None

    def count(self, key: str) -> int:
        """Return a number of the file's architecture, which it has also where only its vocabulary is read."""
        found = self.metadata(f"{self.metadata('general.architecture')}.{key}") or ""
        return int(found) if found.isdecimal() else 0

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """Return a text's tokens; special ones are known by their text."""
        raw = text.encode("utf-8", "surrogatepass")
        room = ffi.new("llama_token[]", len(raw) + 8)
        count = lib.llama_tokenize(self.vocabulary, raw, len(raw), room, len(room), add_special, True)
        if count < 0:
            refuse(f"{-count} tokens for {len(raw)} bytes")
        return list(ffi.unpack(room, count)) if count else []

    def texts(self) -> list[str]:
        """Return every token as the file stores it."""
        get = lib.llama_vocab_get_text
        return [_text(get(self.vocabulary, number)) for number in range(self.tokens)]

    def piece(self, token: int) -> bytes:
        """Return what a token writes; a special token writes nothing, as in transformers' answers."""
        room = ffi.new("char[]", 512)
        length = lib.llama_token_to_piece(self.vocabulary, token, room, len(room), 0, False)
        if length < 0:
            room = ffi.new("char[]", -length)
            length = lib.llama_token_to_piece(self.vocabulary, token, room, len(room), 0, False)
        return bytes(ffi.buffer(room, length))

    def _require_room(self, tokens: int) -> None:
        if tokens > self.room:
            raise Impossible(f"{tokens} tokens don't fit into a context of {self.room}")

    def _read(self, ids: list[int], first_row: int) -> np.ndarray[Any, Any] | None:
        """Read at most a batch behind what is cached; return the logits after its tokens from `first_row` on."""
        rows = max(0, len(ids) - max(0, first_row))
        batch = lib.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for at, token in enumerate(ids):
                batch.token[at], batch.pos[at] = token, len(self.cached) + at
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
                batch.logits[at] = at >= first_row
            log.clear()
            if (code := lib.llama_decode(self.context, batch)) != 0:
                self.cached = []
                refuse(f"llama.cpp can't read these tokens (code {code})")
        finally:
            lib.llama_batch_free(batch)
        self.cached += ids
        if not rows:
            return None
        flat = ffi.buffer(lib.llama_get_logits(self.context), rows * self.tokens * 4)
        return np.frombuffer(flat, dtype=np.float32).reshape(rows, self.tokens)

    def _keep(self, ids: list[int], most: int) -> int:
        """Drop what the context has cached behind its common beginning with `ids`; return that beginning's length."""
        common = 0
        for cached, token in zip(self.cached, ids[:most], strict=False):
            if cached != token:
                break
            common += 1
        memory = lib.llama_get_memory(self.context)
        if common == 0 or not lib.llama_memory_seq_rm(memory, 0, common, -1):
            lib.llama_memory_clear(memory, True)
            common = 0
        self.cached = self.cached[:common]
        return common

    def logits(self, ids: list[int], start: int) -> np.ndarray[Any, Any]:
        """Return the logits after the tokens from `start` on [tokens, vocabulary]; from 0, nothing cached is used."""
        self._require_room(len(ids))
        at = self._keep(ids, start)
        size = min(BATCH, self.room)
        rows = []
        while at < len(ids):
            part = ids[at : at + size]
            read = self._read(part, start - at)
            if read is not None:
                rows.append(read.copy())
            at += len(part)
        return np.concatenate(rows)

    def score(self, ids: list[int], start: int) -> LogProbs:
        """Return the log-probabilities of `ids[start:]`; a common beginning with the last request is not read again."""
        if not 1 <= start <= len(ids):
            raise Impossible(f"there is no token before the {start + 1}th of {len(ids)}")
        self._require_room(len(ids))
        values: list[float] = []
        likeliest: list[bool] = []
        at = self._keep([] if self.exact else ids, start - 1)
        size = min(BATCH, self.room)
        while at < len(ids) - 1:  # nothing follows the last one
            part = ids[at : min(at + size, len(ids) - 1)]
            rows = self._read(part, start - 1 - at)
            if rows is not None:
                own = np.array(ids[at + len(part) - len(rows) + 1 : at + len(part) + 1])
                values += log_probs(rows, own).tolist()
                likeliest += (rows.argmax(-1) == own).tolist()
            at += len(part)
        return LogProbs(values, likeliest)

    def begin(self, ids: list[int], sampling: Sampling) -> None:
        """Set a prompt, and how its answer is drawn."""
        if not ids:
            raise Impossible("a prompt needs a token to begin with")
        self._require_room(len(ids) + 1)
        log.clear()
        if self.sampler != ffi.NULL:
            lib.llama_sampler_free(self.sampler)
        self.sampler = sampler_of(sampling)
        # the last token is always read, for its logits
        common = self._keep([] if self.exact else ids, len(ids) - 1)
        self.unread, self.pending = ids[common:], -1

    def step(self) -> Token | None:
        """Read a batch of the prompt; once it is read, draw a token."""
        if self.sampler == ffi.NULL:
            raise Impossible("there is no prompt")
        if self.unread:
            part, self.unread = self.unread[:BATCH], self.unread[BATCH:]
            self._read(part, BATCH if self.unread else len(part) - 1)
            return None
        if self.pending >= 0:
            self._require_room(len(self.cached) + 1)
            self._read([self.pending], 0)
        token = int(lib.llama_sampler_sample(self.sampler, self.context, -1))
        self.pending = token
        return Token(token, self.piece(token), bool(lib.llama_vocab_is_eog(self.vocabulary, token)))


def sampler_of(sampling: Sampling) -> Any:
    """Make llama.cpp's chain of samplers."""
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    if sampling.temperature <= 0:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
        return chain
    if sampling.top_p < 1:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(sampling.temperature))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
    return chain


def log_probs(rows: np.ndarray[Any, Any], ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the log-probability (nats) of one token in each row of logits [rows, vocabulary] -> [rows]."""
    highest = rows.max(-1)
    sums = np.exp(rows - highest[:, None]).sum(-1, dtype=np.float64)
    own: np.ndarray[Any, Any] = rows[np.arange(len(rows)), ids] - highest - np.log(sums)
    return own


def quantize(source: str, target: str, file_type: int, threads: int) -> None:
    """Write a file's weights in another number format."""
    log.clear()
    settings = ffi.new("llama_model_quantize_params *", lib.llama_model_quantize_default_params())
    settings.nthread, settings.ftype = threads, file_type
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), settings) != 0:
        refuse("llama.cpp can't quantize it")


def _text(pointer: Any) -> str:
    text: str = ffi.string(pointer).decode("utf-8", "replace")
    return text
