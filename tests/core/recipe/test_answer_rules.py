"""Each rule accepts what it describes and rejects what it does not; an invalid rule raises."""

from __future__ import annotations

import signal

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe import answer_rules
from finetop.core.recipe.answer_rules import LONGEST_MATCHED_TEXT, RULES, check_rules, token_f1

KEPT: list[tuple[str, object, str]] = [
    ("one_word", None, " Paris. "),
    ("max_words", 3, "two words"),
    ("min_words", 2, "two words"),
    ("contains", "river", "The River, it runs."),
    ("contains", "new york", "I like New\n York!"),
    ("contains", "c++", "I write C++ daily"),
    ("not_contains", "cat", "We concatenate."),
    ("contains_any", ["red", "blue"], "A blue one"),
    ("starts_with", "Sure", '"Sure, here it is."'),
    ("starts_with", "Once upon", "once upon a time"),
    ("ends_with", "done", "It is done."),
    ("ends_with", "?", "Is it so?"),
    ("all_caps", None, "HELLO, 3 TIMES!"),
    ("lowercase", None, "all of it is small"),
    ("exact", "Paris", " **paris**.\n"),
    ("one_of", ["yes", "no"], "No."),
    ("regex", r"^\d{3}$", "123"),
    ("json_object", ["name"], '{"name": "Ada", "age": 36}'),
    ("json_object", [], "{}"),
    ("number", 12, "The answer is 12."),
    ("number", -1000, "-1,000"),
    ("number", 2.5, "2.5 metres"),
    ("between", [1, 10], "7"),
    ("list_items", 3, "Apples, pears, and plums."),
    ("list_items", 3, "red, green and blue"),
    ("list_items", 2, "1. milk and honey\n2. bread\n"),
]

BROKEN: list[tuple[str, object, str]] = [
    ("one_word", None, "New York"),
    ("one_word", None, " ... "),
    ("max_words", 1, "two words"),
    ("max_words", 3, ""),
    ("min_words", 3, "two - words"),
    ("contains", "cat", "We concatenate."),
    ("not_contains", "cat", "A CAT."),
    ("not_contains", "cat", ""),
    ("contains_any", ["red", "blue"], "bluer"),
    ("starts_with", "Sure", "Surely not"),
    ("starts_with", "Sure", ""),
    ("ends_with", "one", "It is done."),
    ("ends_with", "?", "It is so."),
    ("ends_with", "done", ""),
    ("all_caps", None, "HELLo"),
    ("all_caps", None, "123"),
    ("lowercase", None, "Small"),
    ("exact", "Paris", "It is Paris"),
    ("exact", "Paris", ""),
    ("one_of", ["yes", "no"], "yes and no"),
    ("one_of", [], "yes"),
    ("regex", r"^\d{3}$", "1234"),
    ("regex", "z", "a" * LONGEST_MATCHED_TEXT + "z"),
    ("json_object", ["name"], '{"age": 36}'),
    ("json_object", [], "[1]"),
    ("json_object", [], "[" * 15_000),
    ("number", 12, "12 or 13"),
    ("number", 12, "120"),
    ("number", 12, "x12"),
    ("between", [1, 10], "11"),
    ("between", [1, 10], "none"),
    ("list_items", 3, "Apples and pears"),
    ("list_items", 3, ""),
]


def rule(name: str, value: object) -> dict[str, object]:
    return {"rule": name} if value is None else {"rule": name, "value": value}


@pytest.mark.parametrize(
    ("name", "value", "text", "holds"), [(*case, True) for case in KEPT] + [(*case, False) for case in BROKEN]
)
def test_a_rule_holds_or_fails(name: str, value: object, text: str, holds: bool) -> None:
    assert check_rules(text, [rule(name, value)]) is holds


def test_every_rule_is_tried_both_ways_and_all_must_hold() -> None:
    assert {name for name, _, _ in KEPT} == set(RULES) == {name for name, _, _ in BROKEN}
    rules = [rule("one_word", None), rule("all_caps", None)]
    assert check_rules("DOG", rules)
    assert not check_rules("dog", rules)
    assert not check_rules("A DOG", rules)
    with pytest.raises(BadInput):
        check_rules("anything", [])


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        ({"rule": "contain", "value": "x"}, "Did you mean contains?"),
        ({"value": "x"}, "None is not a rule"),
        (
            {"rule": "json_valid"},
            "a rule for rewards only. Use it in objective.reward, or choose another rule here: json_object",
        ),
        ({"rule": "length", "value": [1, 2]}, "length is a rule for rewards only"),
        ({"rule": "contains"}, "value is none. It takes a text"),
        ({"rule": "contains", "value": " "}, "It takes a text that is not empty"),
        ({"rule": "contains", "value": 3}, "value is 3. It takes a text"),
        ({"rule": "one_word", "value": 1}, "It takes no value"),
        ({"rule": "max_words", "value": True}, "It takes a whole number"),
        ({"rule": "max_words", "value": 0}, "It takes a whole number"),
        ({"rule": "one_of", "value": "yes"}, "It takes a list of texts"),
        ({"rule": "number", "value": float("nan")}, "It takes a number"),
        ({"rule": "between", "value": [3, 1]}, "the smaller first"),
        ({"rule": "between", "value": [3]}, "a list of two numbers"),
        ({"rule": "regex", "value": "("}, "It takes a regular expression"),
        ({"rule": "one_word", "valeu": 1}, "valeu is not a key"),
    ],
)
def test_faulty_rule_is_refused(faulty: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check_rules("", [rule("one_word", None), faulty])  # validated although the first one fails
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "right", "score"),
    [("Polyester", "polyester.", 1.0), ("The tent is made of polyester", "polyester", 1 / 3),
     ("a red red tent", "red tent", 0.8), ("", "polyester", 0.0), ("", "the", 1.0), ("nylon", "polyester", 0.0)],
)  # fmt: skip
def test_token_f1_is_squads(text, right, score):
    assert token_f1(text, right) == pytest.approx(score)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}x"])
def test_a_pattern_that_would_search_for_ever_is_given_up(monkeypatch, pattern):
    monkeypatch.setattr(answer_rules, "MATCH_S", 0.05)
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(BadInput, match=r"takes more than 0\.05 s on one answer") as caught:
        check_rules("a" * 500 + "!", [rule("regex", pattern)])
    assert pattern in str(caught.value)
    assert check_rules("a" * 500, [rule("regex", "a+$")])
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
