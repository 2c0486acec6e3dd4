"""Shared by objectives whose model generates its own answers and gets rewards for them: settings, limits, examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.train import rewards
from finetop.core.train.methods import LEARNED_TOKENS
from finetop.core.train.objectives import Objective
from finetop.core.train.trainers.groups import METRICS as OF_GROUPS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.recipe.schema import Recipe

PARTS = {f"part/{name}": f"reward_{name}" for name in ("model", *rewards.names())}


class Generating(Objective[Any]):
    rows = ("prompt", "conversation", "preference")
    loss_falls = False  # the reward rises; the loss compares within a step and stays about 0

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse invalid rewards, and methods with virtual tokens: prompts are padded on the left."""
        yield from rewards.problems(recipe.objective.options.reward)
        name, method = recipe.objective.name, recipe.method.name
        if method in LEARNED_TOKENS:
            text = f"method.name: {method} does not work with {name}"
            text += ": prompts are padded between its tokens and their text."
            yield "method.name", text, "Set method.name to lora or full."

    def examples(
        self, rows: Sequence[Row], options: Any, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Render each prompt up to where the answer begins. Raises BadInput if a rule lacks a row's answer."""
        from finetop.core.data.examples import PromptExample
        from finetop.core.data.formats import as_prompt
        from finetop.core.data.render import prompt_ids

        named = [rule.rule for rule in options.reward.rules]
        needy = next((name for name in named if rewards.load(name).needs_answer), None)
        examples: list[list[AnyExample]] = []
        for row in rows:
            prompt = as_prompt(row.record)
            if needy is not None and prompt.answer is None:
                hint = 'Write {"prompt": "…", "answer": "…"}, or remove the rule.'
                message = f"{row.place}: answer is missing, and the rule {needy} compares with it."
                raise BadInput(message, hint=hint)
            ids = prompt_ids(prompt.prompt, tokenizer, row.place, prompt.tools)
            examples.append([PromptExample(ids, prompt.answer, prompt.prompt)])
        return examples


class Grouped(Generating):
    metrics = OF_GROUPS | PARTS

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse invalid rewards, and steps that are not a whole number of groups of answers to one prompt."""
        yield from super().limits(recipe)
        train, generations = recipe.train, recipe.objective.options.generations
        rows = train.batch_size * train.grad_accumulation
        if rows % generations:
            said = (
                f"objective.generations: {generations} answers to a prompt do not divide the {rows} rows of a step "
                f"(train.batch_size {train.batch_size} x train.grad_accumulation {train.grad_accumulation})."
            )
            near = -(-rows // generations) * generations
            size = train.batch_size
            fit = next((count for count in range(1, near) if size * count % generations == 0), near)
            hint = f"Make their product a multiple of it: set train.grad_accumulation to {fit}."
            yield "objective.generations", said, hint

    def require_rows(self, recipe: Recipe, rows: int) -> None:
        """Check that there are enough prompts for one step; with fewer TRL would train on none. Raises BadInput."""
        train, generations = recipe.train, recipe.objective.options.generations
        wanted = train.batch_size * train.grad_accumulation // generations
        if rows < wanted:
            message = f"data.train: {rows} prompts are fewer than the {wanted} that one step takes."
            raise BadInput(message, hint="Lower train.grad_accumulation, or raise objective.generations.")

    def copies(self, options: Any) -> int:
        copies: int = options.generations * options.passes
        return copies
