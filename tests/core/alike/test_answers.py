"""Contradictions are told from several fine answers."""

from __future__ import annotations

import pytest

from finetop.core.alike.answers import contradiction
from finetop.core.alike.words import codes_of


def told(asked: str, one: str, other: str) -> str:
    first = contradiction(codes_of(asked), codes_of(one), codes_of(other))
    assert first == contradiction(codes_of(asked), codes_of(other), codes_of(one))
    return first


@pytest.mark.parametrize(
    ("asked", "one", "other"),
    [
        ("Classify: my card was charged twice", "Billing", "Claims"),
        ("What does the tent weigh?", "3 kg", "It weighs 5 kg, poles and all, which is light for its size."),
        (
            "Is it waterproof?",
            "Yes, it keeps out the rain.",
            "No. It lets the water in after some hours of rain.",
        ),
        (
            "How many marbles are left?",
            "He had 10 and lost half of them, so there are 5 left. Then he found three of those: 8",
            "Half of ten is five, and he finds another three of them later on: 5 + 3 - 1 = 7",
        ),
        (
            "When was the bridge built?",
            "The old stone bridge over the river was built by Romans in 1894 and repaired after the war.",
            "The old stone bridge over the river was built by Romans in 1931 and repaired after the war.",
        ),
        (
            "How does one groom a poodle?",
            "Brush the coat daily, bathe the dog monthly, trim nails, clean ears and clip hair around paws.",
            "Interest rates rise when central banks fight inflation; bonds lose value and savers earn more.",
        ),
    ],
)
def test_contradictions(asked: str, one: str, other: str) -> None:
    assert told(asked, one, other)


@pytest.mark.parametrize(
    ("asked", "one", "other"),
    [
        ("What does the tent weigh?", "3 kg", "The tent weighs 3 kg."),
        ("Is it waterproof?", "Yes", "Yes, it keeps out the rain very well in any weather."),
        ("Name a color.", "Red", "Blue"),
        (
            "Write a short poem about spring.",
            "Buds open wide upon the bough, the lambs are leaping in meadows now and snow is gone.",
            "Warm rain falls softly, green shoots rise; swallows return beneath mild skies and children play.",
        ),
        (
            "How does one groom a poodle?",
            "Brush the coat daily, bathe the dog monthly, trim nails, clean ears and clip hair around paws.",
            "A poodle needs its coat brushed every day; bathe it and trim the nails about once in six weeks.",
        ),
    ],
)
def test_several_fine_answers(asked: str, one: str, other: str) -> None:
    assert told(asked, one, other) == ""
