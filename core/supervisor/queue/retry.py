"""Whether what failed is tried again by itself: by what ended it, how often so far, and the home's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finetop.core import errors

if TYPE_CHECKING:
    from finetop.core.recipe.home_settings import Settings

REBOOTS = 3  # of the machine without a new checkpoint in between: then the run may be what brings it down


@dataclass(frozen=True)
class Rule:
    """By which setting a failure of one kind is tried again, and how long to wait, as a multiple of retry.wait_s."""

    setting: Literal["retry", "reboot", "crash"]
    wait: float = 1.0


# What is not here comes back however often it is tried: recipe, data, NaN, an exception of the program.
RULES: dict[errors.Kind, Rule] = {
    "restarted": Rule("reboot", wait=0.0),
    "killed": Rule("crash"),
    "crashed": Rule("crash"),
    "vanished": Rule("crash"),
    "hung": Rule("retry"),
    "out_of_memory": Rule("retry", wait=5.0),  # what others run takes long, as a rule
    "gpu_taken": Rule("retry", wait=5.0),
    "disk_full": Rule("retry"),  # and waits for room
    "environment": Rule("retry"),
    "gpu_lost": Rule("retry"),
    "gpu_error": Rule("retry"),
    "communication": Rule("retry"),
}


@dataclass(frozen=True)
class Try:
    """One more try: the how manieth it is, of how many at most, and after which wait."""

    number: int
    of: int
    wait_s: float


def next_try(settings: Settings, kind: errors.Kind, number: int, *, has_moved: bool) -> Try | None:
    """Decide on another try after the `number`-th failed; None: it is left to a person.

    A job that came to a new checkpoint (`has_moved`) has all its tries again.
    """
    rule, retry = RULES.get(kind), settings.retry
    if rule is None or kind in retry.not_after or not _is_allowed(rule, settings):
        return None
    following = Try(
        2 if has_moved else number + 1, 1 + (REBOOTS if rule.setting == "reboot" else retry.times), 0.0
    )
    if following.number > following.of:
        return None
    wait_s = min(retry.longest_s, retry.wait_s * rule.wait * 2.0 ** (following.number - 2))
    return Try(following.number, following.of, wait_s)


def _is_allowed(rule: Rule, settings: Settings) -> bool:
    if rule.setting == "reboot":
        return settings.resume.after_reboot
    return settings.resume.after_crash if rule.setting == "crash" else True
