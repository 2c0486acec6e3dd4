"""Verifiable rewards: rules that score answers, one file each, found by listing this folder; and their settings.

The rules of suites are rewards too: 1 where they hold, else 0. A rule is data; no recipe brings code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import NotFound, did_you_mean
from finetop.core.plugins import REWARD_RULES, Plugin, PluginKind
from finetop.core.recipe import answer_rules as suite_rules
from finetop.core.recipe.answer_rules import ValueKind
from finetop.core.recipe.weight_formats import Quantize

Weight = Annotated[float, Meta(gt=-1000, lt=1000)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule that rewards an answer."""

    rule: Annotated[
        str,
        Meta(
            description="exact_match, number_match, has_answer, json_valid, length (in words), "
            "or a rule of suites such as regex; all of them: docs/rules.md."
        ),
    ]
    value: Annotated[
        Any,
        Meta(
            description="The rule's value: length takes [fewest, most] words ([20, 60]), regex a pattern; "
            "exact_match, number_match, has_answer and json_valid have none."
        ),
    ] = None
    weight: Annotated[
        Weight, Meta(description="Reward for an answer that meets the rule; negative for a penalty.")
    ] = 1.0


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer's reward: a reward model's score, rules, or both, each by its weight."""

    model: Annotated[
        str | None,
        Meta(
            description="Reward model: run:NAME, stage:NAME in a chain, or a folder (./, ../, / or ~).",
            extra={"path": "id"},
        ),
    ] = None
    weight: Annotated[Weight, Meta(description="Weight of the reward model's score.")] = 1.0
    quantize: Annotated[
        Quantize, Meta(description="Load the reward model's linear layers in fewer bits, as it was trained.")
    ] = "none"
    rules: Annotated[
        tuple[Rule, ...], Meta(description="Rules that reward answers; their rewards are summed.")
    ] = ()


class RewardRule(Plugin):
    """A rule that scores an answer."""

    takes: ValueKind = "nothing"  # kind of the rule's value
    needs_answer = False  # compares with the row's right answer

    @abstractmethod
    def score(self, text: str, value: Any, answer: str | None) -> float:
        """Score a text, from 0 to 1."""


class SuiteRule(RewardRule):
    """A rule of suites: 1 where it holds, else 0."""

    def __init__(self, name: str) -> None:
        rule = suite_rules.RULES[name]
        self.name, self.takes, self._holds = name, rule.takes, rule.holds

    def score(self, text: str, value: Any, answer: str | None) -> float:
        return float(self._holds(text, value))


KIND: PluginKind[RewardRule] = REWARD_RULES.of(RewardRule)


def names() -> tuple[str, ...]:
    """Return the names of all rules: this folder's, without importing them, and those of suites."""
    return tuple(sorted({*REWARD_RULES.names(), *suite_rules.RULES}))


def load(name: str) -> RewardRule:
    """Return a rule by its name, in which a dash equals an underscore. Raises NotFound with a suggestion."""
    plain = name.replace("-", "_")
    if plain in REWARD_RULES.names():
        return KIND.load(plain)
    if plain not in suite_rules.RULES:
        raise NotFound(f"there is no rule {name[:60]!r}.", hint=did_you_mean(plain[:60], names()))
    return SuiteRule(plain)


def problems(reward: Reward) -> Iterator[tuple[str, str, str]]:
    """Yield the problems of `objective.reward`, as (key, message, hint)."""
    key = "objective.reward"
    if reward.model is None and not reward.rules:
        hint = f"Set {key}.rules, say to [{{rule: exact_match}}], or {key}.model."
        yield key, f"{key}: nothing defines the reward.", hint
    if reward.model is not None and not reward.weight:
        message = f"{key}.weight is 0: the reward model would have no effect."
        yield f"{key}.weight", message, f"Set it to 1, or {key}.model to null."
    for number, rule in enumerate(reward.rules):
        at = f"{key}.rules[{number}]"
        try:
            known = load(rule.rule)
        except NotFound as error:
            yield f"{at}.rule", f"{at}.rule: {error.message}", error.hint
            continue
        if not suite_rules.fits(rule.value, known.takes):
            message = "is missing" if rule.value is None else f"is {str(rule.value)[:60]!r}"
            hint = f"{known.name} takes {suite_rules.WANTED[known.takes]}."
            yield f"{at}.value", f"{at}.value {message}.", hint
        if not rule.weight:
            message = f"{at}.weight is 0: the rule would have no effect."
            yield f"{at}.weight", message, "Set it to 1, or leave the rule out."
