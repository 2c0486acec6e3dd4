"""Light edits are distinguished from other questions."""

# ruff: noqa: E501
from __future__ import annotations

import numpy as np
import pytest

from finetop.core.data.similarity.edits import TABLE, asks_the_same, compare, count_words
from finetop.core.data.similarity.word_codes import codes_of, words_in

TENT = "What is the setup of the TrailMaster X4 Tent?"


@pytest.mark.parametrize(
    "edited",
    [
        "what is the SETUP of the trailmaster x4 tent",
        "What is the actual setup of the TrailMaster X4 Tent?",
        "What is setup of the TrailMaster X4 Tent?",
        "What is the stup of the TrailMaster X4 Tent?",
        "Please answer the following question: What is the setup of the TrailMaster X4 Tent?",
        "What is the setup of the TrailMaster X4 Tent? Thank you very much.",
    ],
)
def test_light_edits(edited: str) -> None:
    change = compare(codes_of(TENT), codes_of(edited))
    assert change.is_light and not change.swapped_names


@pytest.mark.parametrize(
    "other",
    [
        "What is the setup of the Alpine Explorer Tent?",
        "What is the setup of the TrailMaster X5 Tent?",
        "Who made it?",
        "Can the TrailMaster X4 Tent be used in winter conditions?",
    ],
)
def test_other_questions(other: str) -> None:
    assert not compare(codes_of(TENT), codes_of(other)).is_light


def test_little_words_and_a_changed_question_ask_another_thing() -> None:
    text = "The company sold many things in many places, and all of it is told here. " * 20
    one, other = f"{text}\nWhat were its profits in spring?", f"{text}\nWho went to the office that day?"
    assert not compare(codes_of(one), codes_of(other)).is_light
    assert counted("a tent is a tent", "tent").max() == 2
    counts = np.full(TABLE, 100, np.uint32)
    for other, told in (("What to do for Crohn's Disease?", ""), ("What are Crohn's Disease?", "same")):
        change = compare(codes_of("What is (are) Crohn's Disease?"), codes_of(other), counts)
        assert asks_the_same(change, 6) == told


def counted(*texts: str) -> np.ndarray:
    table = np.zeros(TABLE, np.uint32)
    count_words(table, [codes_of(text) for text in texts])
    return table


def told(one: str, other: str, *around: str) -> str:
    first, second = codes_of(one), codes_of(other)
    return asks_the_same(compare(first, second, counted(one, other, *around)), min(len(first), len(second)))


def test_a_word_for_another_is_an_edit_only_where_one_is_usual_and_one_is_not() -> None:
    usual = ("the weight", "a weight", "its height", "the height", "some height")
    weight, height = "What is the weight of that tent?", "What is the height of that tent?"
    assert told(weight, height, *usual) == ""
    assert told(weight, "What is the velvet of that tent?", *usual) == "sure"
    assert told("What equipment is needed for falconry", "What equipment is needed for beekeeping") == ""
    assert told(weight, "Please, what is the weight of that tent?") == "same"


@pytest.mark.parametrize(
    ("one", "other", "edited"),
    [
        ("请写一段简短的文字介绍法国的地理位置和气候特点", "请写一段简短的文字介绍德国的地理位置和气候特点", "写一段简短的文字介绍法国的地理位置和气候特点吧"),
        ("フランスの地理と気候を紹介する短い文章を書いてください", "ドイツの地理と気候を紹介する短い文章を書いてください", "フランスの地理と気候を紹介する短い文章を書いてください!"),
        ("اكتب مقدمة قصيرة عن مناخ فرنسا لكتاب مدرسي", "اكتب مقدمة قصيرة عن مناخ ألمانيا لكتاب مدرسي", "اكتب مقدمة قصيرة عن مناخ فرنسا لكتاب مدرسي!"),
        ("초등학생을 위한 프랑스 기후 소개 글을 쉽게 써 주세요", "초등학생을 위한 독일 기후 소개 글을 쉽게 써 주세요", "초등학생을 위한 프랑스 기후 소개 글을 쉽게 써 주세요!"),
    ],
)  # fmt: skip
def test_another_name_in_a_script_without_capitals_is_no_light_edit(
    one: str, other: str, edited: str
) -> None:
    assert not compare(codes_of(one), codes_of(other)).is_light
    assert compare(codes_of(one), codes_of(edited)).is_light
    assert words_in(codes_of("天气很好")) == 2 == words_in(codes_of("fine weather"))
