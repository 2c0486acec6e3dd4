"""A GGUF file gives the tokens of the rule that it names, as llama.cpp itself finds them."""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path

import gguf_file
import numpy
import pytest

from finetop.core.errors import BadInput
from finetop.core.models import demo_model, gguf_tokenizer
from finetop.core.models.llama_cpp.model import Process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

RULES = ("gpt-2", "smollm", "llama-bpe", "qwen2")
MERGES = [
    *("1 2", "12 3", "4 5", "0 0", "00 0", "Ġ 1", "Ġ 2", "Ġ t", "Ġt h", "Ġth e", "i n", "e r", "a b", "ab c"),
    *("Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "( )", "= =", "' s", "' S", "Ã ©", "Ù £", "Ċ Ġ", "5 6", "56 7", "1 Ġ"),
]
PIECES = [
    *["0", "1", "12", "123", "1234", "45", "000", "567", "3.14", "1,000,000", "2026-11-28", "٣٤", "½", "²", "Ⅷ"],
    *["the", "The", "in", "abc", "x1", "v2.0", "é", "naïve", "日本語", "12時", "🙂", "it's", "IT'S", "we'll", "don't"],
    *(" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\u00a0"),
    *["()", "==", "!=", "{", "}", "a[0]", "f(x)=1", "#12", "…"],
]  # fmt: skip


def strings() -> list[str]:
    draw = random.Random(28)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(200)]
    return list(dict.fromkeys(texts))


@cache
def vocabulary() -> list[str]:
    """Return the printable letter for each byte in byte-level vocabularies, what merges make, and an end."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, shown), *(chr(256 + at) for at in range(256 - len(shown)))]
    return [*letters, *(merge.replace(" ", "") for merge in MERGES), "<|end|>"]


def wanted_of(llama: Process, file: Path) -> dict[str, list[int]]:
    """Return the tokens that llama.cpp finds in each text."""
    return dict(zip(strings(), llama.open(file, context=0).tokenize(strings()), strict=True))


def write(file: Path, name: str | None, words: list[str], merges: list[str]) -> Path:
    """Write a GGUF file of a tiny Llama's shape with this vocabulary; its weights are never read."""
    writer = gguf_file.begin(file, words, merges, name, special=[len(words) - 1])
    writer.add_tensor("token_embd.weight", numpy.zeros((len(words), 8), dtype=numpy.float32))
    gguf_file.finish(writer)
    return file


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_the_tokens_of_its_name_also_when_saved(
    name: str, llama: Process, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    file = write(tmp_path / "model.gguf", name, vocabulary(), MERGES)
    loaded, wanted = gguf_tokenizer.load(file), wanted_of(llama, file)
    loaded.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for tokenizer in (loaded, saved):
        assert dict(zip(wanted, tokenizer([*wanted]).input_ids, strict=True)) == wanted
    assert saved.batch_decode([*wanted.values()]) == [*wanted]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["gpt-5-turbo", "default", None])
def test_an_unknown_rule_is_refused(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tokenizer\.ggml\.pre: \S+ is not a known way") as caught:
        gguf_tokenizer.load(write(tmp_path / "model.gguf", name, vocabulary(), MERGES))
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
def test_the_real_copy_splits_as_smollm2_does(llama: Process, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = Path(os.environ.get("FINETOP_TEST_MODEL", "/none"))
    if folder.name.lower() != demo_model.ALIAS or not folder.is_dir():
        pytest.skip(f"FINETOP_TEST_MODEL names no folder {demo_model.ALIAS}")
    if not demo_model.splits_digits(folder):
        pytest.skip("an earlier finetop converted FINETOP_TEST_MODEL")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded("Hello world! 123").input_ids == [19556, 905, 17, 216, 33, 34, 35]  # the hub's own ids
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    words, merges = (
        sorted(model["vocab"], key=model["vocab"].get),
        [" ".join(pair) for pair in model["merges"]],
    )
    wanted = wanted_of(llama, write(tmp_path / "model.gguf", "smollm", words, merges))
    assert {text: loaded(text).input_ids for text in wanted} == wanted
