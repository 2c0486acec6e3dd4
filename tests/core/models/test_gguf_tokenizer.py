"""A GGUF file gives the tokens of the rule that it names: computed here with llama.cpp's regexes, piece by piece."""

from __future__ import annotations

import json
import os
import random
from functools import cache
from itertools import pairwise
from pathlib import Path

import gguf_file
import numpy
import pytest
import regex

from finetop.core.errors import BadInput
from finetop.core.models import demo_model, gguf_tokenizer
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_CPP = {  # as llama.cpp lists them: each splits the pieces of the previous one
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [CONTRACTIONS + r"\p{N}{1,3}" + REST],
    "qwen2": [CONTRACTIONS + r"\p{N}" + REST],
}
MERGES = [
    *("1 2", "12 3", "4 5", "0 0", "00 0", "Ġ 1", "Ġ 2", "Ġ t", "Ġt h", "Ġth e", "i n", "e r", "a b", "ab c"),
    *("Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "( )", "= =", "' s", "' S", "Ã ©", "Ù £", "Ċ Ġ", "5 6", "56 7", "1 Ġ"),
]
RANKS = {tuple(merge.split(" ")): at for at, merge in enumerate(MERGES)}
PIECES = [
    *["0", "1", "12", "123", "1234", "45", "000", "567", "3.14", "1,000,000", "2026-11-28", "٣٤", "½", "²", "Ⅷ"],
    *["the", "The", "in", "abc", "x1", "v2.0", "é", "naïve", "日本語", "12時", "🙂", "it's", "IT'S", "we'll", "don't"],
    *(" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\u00a0"),
    *["()", "==", "!=", "{", "}", "a[0]", "f(x)=1", "#12", "…"],
]  # fmt: skip


def strings() -> list[str]:
    draw = random.Random(28)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(200)]


@cache
def alphabet() -> dict[int, str]:
    """Return the printable letter for each byte in byte-level vocabularies."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}


@cache
def vocabulary() -> list[str]:
    return [*alphabet().values(), *(merge.replace(" ", "") for merge in MERGES), "<|end|>"]


def cut(text: str, rules: list[str]) -> list[str]:
    """Split a text by regexes in turn; what does not match is a piece too."""
    pieces = [text]
    for rule in rules:
        found = []
        for piece in pieces:
            at = 0
            for match in regex.finditer(rule, piece):
                found += [piece[at : match.start()], match.group()]
                at = match.end()
            found.append(piece[at:])
        pieces = [piece for piece in found if piece]
    return pieces


def merged(piece: str, ranks: dict[tuple[str, ...], int]) -> list[str]:
    """Merge a piece's bytes, in the order of merges."""
    letters = alphabet()
    tokens = [letters[byte] for byte in piece.encode()]
    while True:
        known = [(ranks[pair], at) for at, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not known:
            return tokens
        at = min(known)[1]
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]


@cache
def ids() -> dict[str, int]:
    return {word: at for at, word in enumerate(vocabulary())}


def expected(
    text: str,
    rules: list[str],
    words: dict[str, int],
    ranks: dict[tuple[str, ...], int],
    *,
    whole_words: bool,
) -> list[int]:
    letters = alphabet()
    tokens = []
    for piece in cut(text, rules):
        word = "".join(letters[byte] for byte in piece.encode())
        tokens += [word] if whole_words and word in words else merged(piece, ranks)
    return [words[token] for token in tokens]


def write(file: Path, name: str | None) -> Path:
    """Write a GGUF file of a tiny Llama's shape with this vocabulary; its weights are never read."""
    words = vocabulary()
    writer = gguf_file.begin(file, words, MERGES, name, special=[len(words) - 1])
    writer.add_tensor("token_embd.weight", numpy.zeros((len(words), 8), dtype=numpy.float32))
    gguf_file.finish(writer)
    return file


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", LLAMA_CPP)
def test_a_rule_gives_the_tokens_of_its_name_also_when_saved(name: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    loaded = gguf_tokenizer.load(write(tmp_path / "model.gguf", name))
    loaded.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    texts, whole = strings(), name == "llama-bpe"
    wanted = {text: expected(text, LLAMA_CPP[name], ids(), RANKS, whole_words=whole) for text in texts}
    for tokenizer in (loaded, saved):
        assert dict(zip(texts, tokenizer(texts).input_ids, strict=True)) == wanted
    assert saved.batch_decode([wanted[text] for text in texts]) == texts


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["gpt-5-turbo", "default", None])
def test_an_unknown_rule_is_refused(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tokenizer\.ggml\.pre: \S+ is not a known way") as caught:
        gguf_tokenizer.load(write(tmp_path / "model.gguf", name))
    assert "smollm" in caught.value.hint


def test_a_copy_that_took_digits_together_stays_and_says_so(home: Home, events: EventLog) -> None:
    folder = home.models / demo_model.ALIAS
    folder.mkdir()
    for rules, is_said in ((["ByteLevel"], True), (["Digits", "ByteLevel"], False)):
        steps = {"pretokenizers": [{"type": kind} for kind in rules]}
        (folder / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": steps}, indent=1))
        path, _, source = demo_model.find(None, home, events)
        assert path == folder
        assert (f"to convert it again, remove {folder}" in source) == is_said


@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_copy_splits_as_smollm2_does() -> None:
    from transformers import AutoTokenizer

    folder = Path(os.environ.get("FINETOP_TEST_MODEL", "/none"))
    if folder.name.lower() != demo_model.ALIAS or not folder.is_dir():
        pytest.skip(f"FINETOP_TEST_MODEL names no folder {demo_model.ALIAS}")
    if not demo_model.splits_digits(folder):
        pytest.skip("an earlier finetop converted FINETOP_TEST_MODEL")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded("Hello world! 123").input_ids == [19556, 905, 17, 216, 33, 34, 35]  # the hub's own ids
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    ranks = {tuple(merge): at for at, merge in enumerate(model["merges"])}
    for text in strings():
        wanted = expected(text, LLAMA_CPP["smollm"], model["vocab"], ranks, whole_words=False)
        assert loaded(text).input_ids == wanted, text
