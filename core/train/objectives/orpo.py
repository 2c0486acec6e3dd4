"""Odds ratio preference optimization (arXiv:2403.07691): learn chosen answers and avoid rejected ones in one loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.objectives.dpo import Pairs

if TYPE_CHECKING:
    from finetop.core.data.examples import AnyExample
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is orpo."""

    weight: Annotated[
        float,
        Meta(
            gt=0, le=100, description="Weight of the odds-ratio term, added to the loss on the chosen answer."
        ),
    ] = 0.1


class Orpo(Pairs):
    about = "learn preferred answers and avoid rejected ones, without a reference model"
    options = Options
    config = "trl.experimental.orpo.ORPOConfig"
    metrics = {
        "rewards/margins": "reward_margin",
        "rewards/accuracies": "reward_accuracy",
        "nll_loss": "nll_loss",
        "log_odds_ratio": "log_odds_ratio",
        "logps/chosen": "logp_chosen",
        "logps/rejected": "logp_rejected",
    }
    own = {"beta": "objective.weight"}

    def make_trainer(self, setup: Setup) -> Any:
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        from finetop.core.train.trainers import language

        options: Options = setup.recipe.objective.options
        most = setup.recipe.data.max_tokens
        values = {"beta": options.weight, "max_length": most, "remove_unused_columns": False}

        class TokenizedORPO(ORPOTrainer):  # type: ignore[misc]
            def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
                return _as_orpo(feature)

        def table(pairs: Sequence[AnyExample]) -> Any:
            """Return the data set with the text columns that TRL requires before it tokenizes; nothing reads them."""
            rows = language.table_of(pairs)
            for name in ("prompt", "chosen", "rejected"):
                rows = rows.add_column(name, [""] * len(rows))
            return rows

        return language.build(setup, TokenizedORPO, ORPOConfig, values, self.own, table=table)


def _as_orpo(row: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    prompt = row["prompt_ids"]
    for name in ("chosen", "rejected"):
        tokens = [*prompt, *row[f"{name}_ids"]]
        columns[f"{name}_input_ids"] = tokens
        columns[f"{name}_attention_mask"] = [1] * len(tokens)
        columns[f"{name}_labels"] = [-100] * len(prompt) + row[f"{name}_ids"]
    return {**columns, "prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}


PLUGIN = Orpo()
