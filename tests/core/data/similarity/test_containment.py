"""Items are found in texts verbatim and lightly edited, and others are not."""

from __future__ import annotations

import pytest

from finetop.core.data.similarity.containment import Items
from finetop.core.data.similarity.word_codes import codes_of

ITEMS = (
    "Which process passes genetic information from plants to their offspring?",
    "Brendan has a bag of marbles with 10 inside. He tripped over a pebble while carrying it and dropped half of them.",
    "The capital of Chile is",
    "402 + 585 =",
    "How are you?",
)


def found(*texts: str) -> set[int]:
    items = Items([codes_of(item) for item in ITEMS])
    return {hit.item for hit in items.search([codes_of(one) for one in texts])}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (f"Question: {ITEMS[0]}\nA) germination\nAnswer: B", {0}),
        ("I wonder: which mechanism passes genetic information from plants to their offspring", {0}),
        ("Brendan has a sack of marbles with 10 inside. He tripped over a small pebble while carrying it and dropped "
         "half of them. How many are left?", {1}),
        ("Brendan has a bag of marbles with 12 inside. He tripped over a pebble while carrying it and dropped half "
         "of them.", set()),
        ("Which process passes heat from plants to the air around them?", set()),
        ("The capital of Chile is Santiago.", {2}),
        ("The capital of Peru is", set()),
        ("He asked what the capital of Chile is and where it lies.", set()),
        ("Quick question. 402 + 585 = Thanks!", {3}),
        ("Quick question. 402 + 585 = ?", {3}),
        ("402 - 585 =", set()),
        ("how are you", {4}),
        ("Hello. How are you? I am fine.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_items(text: str, items: set[int]) -> None:
    assert found("Something else entirely.", text) == items


def test_a_hit_says_whether_it_is_verbatim_and_what_many_items_begin_with_finds_none() -> None:
    items = Items([codes_of(ITEMS[0])])
    texts = [codes_of(text) for text in ("no", ITEMS[0].upper(), ITEMS[0].replace("process", "mechanism"))]
    hits = [(hit.text, hit.is_verbatim) for hit in items.search(texts, first=100)]
    assert hits == [(101, True), (102, False)]
    begin = "Read the passage, then choose the one answer that fits it best according to the text:"
    items = [codes_of(f"{begin} item number n{number} asks this q{number}") for number in range(60)]
    assert not list(Items(items).search([codes_of(f"{begin} something that none of them asks")]))
