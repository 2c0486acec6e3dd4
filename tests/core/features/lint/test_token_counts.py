"""Tokens counted word by word add up to those of the whole text, whatever is between its words."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from finetop.core.features.lint import row_tokens
from finetop.core.features.lint.row_tokens import Counter

LEARNED = [
    "The quick brown fox, it's said, jumps over 12 lazy dogs.\n\nThe dogs' 345 fleas didn't care: e = mc^2!",
    "  def fox(n):\n        return n + 1  # über naïve “quotes” — and 東京 in 2024\t\tthe end",
]
PIECES = [*"aeé3\n\t.,'’“(é東 ", *["the", "it's", "fox", "12", "345", "<|end|>"]]
PIECES += ["  ", " ", "\n\n", " \n", "\u00a0", "e\u0301"]


def make_tokenizer(splits: Any, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splits
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    known = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "special_tokens": ["<|end|>"]}
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, **known)
    tokenizer.train_from_iterator(LEARNED * 9, trainer)
    return tokenizer


def split(pattern: str) -> Any:
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), bytes_alone])


def gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


@pytest.mark.parametrize(
    "tokenizer",
    [
        make_tokenizer(gpt2()),
        make_tokenizer(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2()])),
        *(make_tokenizer(split(pattern), normalizers.NFC()) for pattern in row_tokens._PATTERNS),
    ],
)
def test_words_have_as_many_tokens_as_the_text(tokenizer: Tokenizer) -> None:
    counter = Counter(tokenizer)
    assert counter.is_by_word
    chance = random.Random(7)
    for _ in range(120):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 40)))
        borders = [at for at in range(len(text) + 1) if counter.is_border(text, at)]
        parts = [text[a:b] for a, b in pairwise(borders)]
        whole = len(tokenizer.encode(text, add_special_tokens=False).ids)
        assert counter.count(text) == whole, text
        assert sum(map(counter.count, parts)) == whole, text


@pytest.mark.parametrize(
    "splits",
    [
        pre_tokenizers.Metaspace(split=False),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        split(r".{1,5}"),
    ],
)
def test_of_other_tokenizers_texts_are_encoded_whole(splits: Any) -> None:
    assert not Counter(make_tokenizer(splits)).is_by_word
