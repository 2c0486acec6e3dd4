"""How sequences are batched for the model, which is part of what a score means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models.devices import free_memory
from finetop.core.runtime.failures import is_out_of_memory

if TYPE_CHECKING:
    from finetop.core.models.engine import Engine
    from finetop.core.models.vllm import Copy

Name = Literal["base", "tuned"]
Scores = TypeVar("Scores")

VERSION = 3  # of what a score means; part of every cache key
LEAST_ROW_TOKENS = 64


@dataclass(frozen=True)
class BatchPlan:
    """How sequences are batched, and how many tokens are read at once; plans' scores are never compared."""

    layout: Literal["packed", "plain"]
    row_tokens: int
    engine: Engine = "exact"  # what writes answers
    copy: Copy | None = field(default=None, compare=False)  # of the model, if vLLM writes the answers

    def facts(self, *, writes: bool) -> dict[str, Any]:
        """Return what scores depend on, whether answers are written or only read; "exact" is left out."""
        engine = {"engine": self.engine} if writes and self.engine != "exact" else {}
        return {"layout": self.layout, "row_tokens": self.row_tokens, **engine}


def halve_until_it_fits(
    score: Callable[[BatchPlan], Scores],
    plan: BatchPlan,
    device: str,
    *,
    or_else: str,
    before_again: Callable[[int], None] | None = None,
) -> Scores:
    """Call `score` with a plan; if it runs out of memory, again with rows half as long, and so on.

    `before_again` is called with the new row length. Raises EnvironmentTrouble if the shortest rows do not fit;
    `or_else` ends its hint.
    """
    while True:
        try:
            return score(plan)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if plan.row_tokens <= LEAST_ROW_TOKENS:
                message = f"out of memory even with rows of {plan.row_tokens} tokens."
                raise EnvironmentTrouble(message, hint=f"Free some memory, or {or_else}.") from error
        free_memory(device)  # outside the except: the error's traceback holds tensors
        plan = replace(plan, row_tokens=plan.row_tokens // 2)
        if before_again is not None:
            before_again(plan.row_tokens)


@dataclass(frozen=True)
class Prompt:
    """The tokens that the model continues, and where it must stop."""

    tokens: tuple[int, ...]
    stop: tuple[str, ...]
    max_new_tokens: int
