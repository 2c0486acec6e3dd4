"""Contradictions are distinguished from several valid answers."""

from __future__ import annotations

import pytest

from finetop.core.data.similarity.contradiction import answers_else, contradiction
from finetop.core.data.similarity.word_codes import codes_of


def told(asked: str, one: str, other: str) -> str:
    first = contradiction(codes_of(asked), codes_of(one), codes_of(other))
    assert first == contradiction(codes_of(asked), codes_of(other), codes_of(one))
    return first


GROOM = "Brush the coat daily, bathe the dog monthly, trim nails, clean ears and clip hair around paws."
RATES = "Interest rates rise when central banks fight inflation; bonds lose value and savers earn more."
BRIDGE = "The old stone bridge over the river was built by Romans in {} and repaired after the war."
MARBLES = (
    "He had 10 and lost half of them, so there are 5 left. Then he found three of those: 8",
    "Half of ten is five, and he finds another three of them later on: 5 + 3 - 1 = 7",
)
PAIRS = "The relation between the pairs is that they are opposites of each other."
SNACKS = "- String cheese\n- Salty mashed potatoes\n- Hard-boiled eggs\n- Macaroni\n- Salty pretzels"
SORTS = "Here is a function that sorts a list: it takes any list, sorts it in place and gives it back to you."
DISHES = "Ragu, risotto, spaghetti, pizza, arancini, steak, polenta, ossobuco, gelato"
CONTRADICTIONS = [
    ("Classify: my card was charged twice", "Billing", "Claims"),
    ("What does the tent weigh?", "3 kg", "It weighs 5 kg, poles and all, which is light for its size."),
    (
        "Is it waterproof?",
        "Yes, it keeps out the rain.",
        "No. It lets the water in after some hours of rain.",
    ),
    ("How many marbles are left?", *MARBLES),
    ("When was the bridge built?", BRIDGE.format(1894), BRIDGE.format(1931)),
    ("How does one groom a poodle?", GROOM, RATES),
    ("Make a list of salty snacks with a soft texture.", PAIRS, SNACKS),
    ("Give some examples of dishes from Italy.", "Yes", DISHES),
    ("Write a python function that sorts a list.", "July 20, 1969", SORTS),
]


@pytest.mark.parametrize(("asked", "one", "other"), CONTRADICTIONS)
def test_contradictions(asked: str, one: str, other: str) -> None:
    assert told(asked, one, other)


SPRING = (
    "Buds open wide upon the bough, the lambs are leaping in meadows now and snow is gone.",
    "Warm rain falls softly, green shoots rise; swallows return beneath mild skies and children play.",
)
ALSO_GROOM = "A poodle needs its coat brushed every day; bathe it and trim the nails about once in six weeks."
FINE = [
    ("What does the tent weigh?", "3 kg", "The tent weighs 3 kg."),
    ("Is it waterproof?", "Yes", "Yes, it keeps out the rain very well in any weather."),
    ("Name a color.", "Red", "Blue"),
    ("Give some games for a group.", "Chess, poker, checkers", "Monopoly, Risk, Clue, charades, werewolf"),
    ("Write a short poem about spring.", *SPRING),
    ("How does one groom a poodle?", GROOM, ALSO_GROOM),
]


@pytest.mark.parametrize(("asked", "one", "other"), FINE)
def test_several_fine_answers(asked: str, one: str, other: str) -> None:
    assert told(asked, one, other) == ""


def test_what_answers_something_else_than_two_rows_ask_alike() -> None:
    asked = codes_of("how to make an origami crane"), codes_of("how to generally make an origami crane")
    fold = (
        "Take square paper, fold both diagonals, collapse the sheet, shape neck and wings: the origami crane."
    )
    tie = "Stand before a mirror, cross wide end over narrow, pass it through the loop, tighten the knot slowly."
    again = "Any origami crane begins with a preliminary base, then petal folds, then reverse folds for head and tail."
    assert answers_else(asked, (codes_of(fold), codes_of(tie)))
    assert not answers_else(asked, (codes_of(fold), codes_of(again)))
    boil = codes_of("Boil rice, drain it, add butter, salt, pepper, herbs.")
    assert not answers_else(asked, (codes_of(tie), boil))
