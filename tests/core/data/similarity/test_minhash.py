"""Signatures equal datasketch's, and pairs that share many words are found among any others."""

from __future__ import annotations

import random

import numpy as np
from datasketch import MinHash

from finetop.core.data.similarity import minhash
from finetop.core.data.similarity.word_codes import codes_of


def random_texts(count: int, length: int = 30) -> list[str]:
    rng = np.random.default_rng(3)
    return [" ".join(f"w{number}" for number in rng.integers(0, 5000, length)) for _ in range(count)]


def test_a_signature_is_what_datasketch_makes_of_the_same_shingles() -> None:
    group = minhash.shingles([codes_of(text) for text in (*random_texts(3), "", "of the")])
    made = minhash.signatures(group)
    for number in range(5):
        theirs = MinHash(minhash.PERMUTATIONS, hashfunc=int)
        theirs.update_batch(group.hashes[group.bounds[number] : group.bounds[number + 1]].tolist())
        assert made[number].tolist() == theirs.hashvalues.tolist()
    theirs = MinHash(minhash.PERMUTATIONS, scheme="affine32").permutations
    assert [part.tolist() for part in minhash.permutations()] == theirs.tolist()


def test_edited_texts_meet_others_do_not_and_a_crowd_is_not_compared_all_with_all() -> None:
    texts = random_texts(400)
    edited = [f"please answer {text.replace('w1', 'v1', 1)} thanks" for text in texts[:50]]
    group = minhash.shingles([codes_of(text) for text in (*texts, *edited, "", "")])
    found = set(map(tuple, minhash.pairs(minhash.signatures(group)).tolist()))
    assert {(number, 400 + number) for number in range(50)} <= found
    assert len(found) < 60
    group = minhash.shingles([codes_of("the very same words of a text here")] * 1000)
    assert len(minhash.pairs(minhash.signatures(group))) <= minhash.NEIGHBOURS * 1000


def test_what_most_texts_have_is_left_out_and_never_all_of_a_text() -> None:
    texts = [f"answer the question about subject s{number} now" for number in range(800)]
    texts.append("answer the question")
    group = minhash.shingles([codes_of(text) for text in texts])
    left = minhash.rare(group, minhash.tally([group]), len(texts))
    assert left.counts()[:800].max() < group.counts()[0]
    assert left.counts()[800] == group.counts()[800]


def test_of_two_sentences_one_in_common_is_too_little_and_nine_changed_words_are_not_too_many() -> None:
    chance = random.Random(5)
    pool = [" ".join(f"w{chance.randrange(4000)}" for _ in range(18)) for _ in range(60)]
    texts = [f"{chance.choice(pool)}. {sentence}." for sentence in pool for _ in range(3)]
    edited = texts[0].split()
    for place in range(2, 36, 4):
        edited[place] = f"v{place}"
    group = minhash.shingles([codes_of(text) for text in (*texts, " ".join(edited))])
    made, words = minhash.signatures(group), np.full(len(texts) + 1, 36)
    found = set(map(tuple, minhash.pairs(made, words).tolist()))
    assert (0, len(texts)) in found
    assert len(found) < len(minhash.pairs(made)) / 4
