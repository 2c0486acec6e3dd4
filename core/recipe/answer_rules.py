"""The rules that verify a generated answer in code: pure functions in one table, by name.

A rule is written `{"rule": "contains", "value": "river"}`; one without a value is `{"rule": "one_word"}`.
"""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from finetop.core.errors import BadInput, did_you_mean
from finetop.core.plugins import REWARD_RULES
from finetop.core.runtime.limits import limited
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ValueKind = Literal["nothing", "text", "texts", "count", "number", "range", "pattern"]

# Patterns come from suites, texts from models: limiting the text limits the cost of a slow pattern.
LONGEST_MATCHED_TEXT = 1_000
MATCH_S = 2.0
LONGEST_JSON_TEXT = 20_000

NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w])")
BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s*")
PUNCTUATION = frozenset(string.punctuation)
SEPARATOR = re.compile(r"\s*[,;]\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+")


def words(text: str) -> list[str]:
    """Split on white space; a piece counts as a word if it has a letter or a digit."""
    return [piece for piece in text.split() if any(character.isalnum() for character in piece)]


def normalised(text: str) -> str:
    """Normalise case and white space, and strip all but letters and digits from both ends."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    kept = [place for place, character in enumerate(folded) if character.isalnum()]
    return folded[kept[0] : kept[-1] + 1] if kept else ""


def contains(text: str, value: str) -> bool:
    """Return True if the text has the word or phrase, as whole words and in any case."""
    phrase = re.escape(" ".join(value.casefold().split()))
    return re.search(rf"(?<!\w){phrase}(?!\w)", " ".join(text.casefold().split())) is not None


def not_contains(text: str, value: str) -> bool:
    """Return True if the text has words, but not this word or phrase."""
    return bool(words(text)) and not contains(text, value)


def contains_any(text: str, value: Sequence[str]) -> bool:
    """Return True if the text has one of the words or phrases."""
    return any(contains(text, phrase) for phrase in value)


def starts_with(text: str, value: str) -> bool:
    """Return True if the text begins with the word or phrase, in any case, ignoring quotes."""
    opening = text.casefold().lstrip(" \t\r\n\"'\u201c\u2018*")
    wanted = value.casefold()
    cut_inside_word = opening[len(wanted) : len(wanted) + 1].isalnum() and wanted[-1].isalnum()
    return opening.startswith(wanted) and not cut_inside_word


def ends_with(text: str, value: str) -> bool:
    """Return True if the text ends with the word, phrase or mark; full stops and quotes may follow a word."""
    wanted = value.casefold()
    ending = text.casefold().rstrip(" \t\r\n\"'\u201d\u2019*")
    if wanted[-1].isalnum():
        ending = ending.rstrip(" .!?\"'\u201d\u2019*")
    before = ending[: -len(wanted)]
    cut_inside_word = before[-1:].isalnum() and wanted[0].isalnum()
    return ending.endswith(wanted) and not cut_inside_word


def exact(text: str, value: str) -> bool:
    """Return True if the text equals `value` once both are normalised (case, white space, marks at the ends)."""
    return normalised(text) == normalised(value)


def token_f1(text: str, value: str) -> float:
    """Score the words shared with the right answer: SQuAD's F1 (arXiv:1606.05250), in [0, 1].

    The harmonic mean of precision and recall over words, counted as often as they occur; case, punctuation and the
    articles a, an, the are ignored. If nothing is left of the right answer, an empty answer scores 1.
    """
    answer, right = (Counter(_plain_words(side)) for side in (text, value))
    if not answer or not right:
        return float(answer == right)
    shared = (answer & right).total()
    return 2 * shared / (answer.total() + right.total())


def _plain_words(text: str) -> list[str]:
    bare = "".join(letter for letter in text.lower() if letter not in PUNCTUATION)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def one_of(text: str, value: Sequence[str]) -> bool:
    """Return True if the text is exactly one of the values, normalised."""
    return any(exact(text, wanted) for wanted in value)


def regex(text: str, value: str) -> bool:
    """Return True if the pattern is found in the first LONGEST_MATCHED_TEXT characters.

    Raises BadInput if that takes too long: each further letter doubles the time of `(a+)+$`, so a hundred never end.
    """
    try:
        with limited(MATCH_S):
            return re.search(value, text[:LONGEST_MATCHED_TEXT]) is not None
    except TimeoutError:
        fault = f"rule regex: {quoted(value)} takes more than {MATCH_S:g} s on one answer."
        raise BadInput(fault, hint="Rewrite it without nested repeats, such as (a+)+.") from None


def json_object(text: str, value: Sequence[str]) -> bool:
    """Return True if the text is one JSON object with every key named in `value` (which may be empty)."""
    if len(text) > LONGEST_JSON_TEXT:
        return False
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and all(key in parsed for key in value)


def numbers_in(text: str) -> list[float]:
    """Return every number in the text: 12, -3, 1,000 and 2.5."""
    return [float(match_text.replace(",", "")) for match_text in NUMBER.findall(text)]


def between(text: str, value: Sequence[float]) -> bool:
    """Return True if the text has exactly one number, from value[0] to value[1] inclusive."""
    numbers = numbers_in(text)
    return len(numbers) == 1 and value[0] <= numbers[0] <= value[1]


def list_items(text: str, value: int) -> bool:
    """Return True if the text lists exactly `value` things: one per line, or separated by commas and the word 'and'."""
    lines = [BULLET.sub("", line) for line in text.splitlines() if words(line)]
    pieces = lines if len(lines) > 1 else [piece for line in lines for piece in SEPARATOR.split(line)]
    return sum(1 for piece in pieces if words(piece)) == value


@dataclass(frozen=True)
class Rule:
    """A check and the kind of value it takes."""

    holds: Callable[[str, Any], bool]
    takes: ValueKind


RULES: Mapping[str, Rule] = {
    "one_word": Rule(lambda text, _: len(words(text)) == 1, "nothing"),
    "max_words": Rule(lambda text, most: 1 <= len(words(text)) <= most, "count"),
    "min_words": Rule(lambda text, least: len(words(text)) >= least, "count"),
    "contains": Rule(contains, "text"),
    "not_contains": Rule(not_contains, "text"),
    "contains_any": Rule(contains_any, "texts"),
    "starts_with": Rule(starts_with, "text"),
    "ends_with": Rule(ends_with, "text"),
    "all_caps": Rule(lambda text, _: text.isupper(), "nothing"),
    "lowercase": Rule(lambda text, _: text.islower(), "nothing"),
    "exact": Rule(exact, "text"),
    "one_of": Rule(one_of, "texts"),
    "regex": Rule(regex, "pattern"),
    "json_object": Rule(json_object, "texts"),
    "number": Rule(lambda text, wanted: numbers_in(text) == [float(wanted)], "number"),
    "between": Rule(between, "range"),
    "list_items": Rule(list_items, "count"),
}

WANTED: Mapping[ValueKind, str] = {
    "nothing": "no value",
    "text": "a text that is not empty",
    "texts": "a list of texts",
    "count": "a whole number, 1 or more",
    "number": "a number",
    "range": "a list of two numbers, the smaller first",
    "pattern": "a regular expression",
}


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for a finite number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_texts(value: object) -> bool:
    """Return True for a list of texts, none of them blank."""
    return isinstance(value, list | tuple) and all(isinstance(text, str) and text.strip() for text in value)


def fits(value: object, kind: ValueKind) -> bool:
    """Return True if a rule's value is of the kind it takes."""
    match kind, value:
        case "nothing", None:
            return True
        case "text", str():
            return bool(value.strip())
        case "texts", _:
            return is_texts(value)
        case "count", int():
            return not isinstance(value, bool) and value >= 1
        case "number", _:
            return is_number(value)
        case "range", [low, high]:
            return is_number(low) and is_number(high) and low <= high
        case "pattern", str():
            return compiles(value)
    return False


def compiles(pattern: str) -> bool:
    """Return True if the text is a regular expression."""
    try:
        return bool(re.compile(pattern))
    except re.error:
        return False


def find_rule(rule: Mapping[str, object]) -> tuple[Rule, Any]:
    """Return a rule's check and its value. Raises BadInput for an unknown rule or key, or a value that does not fit."""
    name = rule.get("rule")
    if not isinstance(name, str) or name not in RULES:
        if name in REWARD_RULES.names():
            other = ": json_object with value []" if name == "json_valid" else ""
            hint = f"Use it in objective.reward, or choose another rule here{other}."
            raise BadInput(f"{name} is a rule for rewards only.", hint=hint)
        raise BadInput(f"{name!r} is not a rule.", hint=did_you_mean(str(name), RULES))
    if unknown := [key for key in rule if key not in ("rule", "value")]:
        hint = "A rule has the keys rule and value."
        raise BadInput(f"rule {name}: {unknown[0]} is not a key of a rule.", hint=hint)
    wanted = RULES[name].takes
    value = rule.get("value")
    if not fits(value, wanted):
        got = repr(value) if "value" in rule else "none"
        raise BadInput(f"rule {name}: value is {got}.", hint=f"It takes {WANTED[wanted]}.")
    return RULES[name], value


def check_rules(text: str, rules: Sequence[Mapping[str, object]]) -> bool:
    """Return True if the text passes every rule. Raises BadInput for an empty list, and for any invalid rule first."""
    if not rules:
        raise BadInput("no rules to check.", hint="Add at least one.")
    checks = [find_rule(rule) for rule in rules]
    return all(rule.holds(text, value) for rule, value in checks)
