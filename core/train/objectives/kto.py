"""Kahneman-Tversky optimization (arXiv:2402.01306): learn from single answers that were good or bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.objectives import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is kto."""

    beta: Annotated[
        float,
        Meta(gt=0, le=100, description="Strength of the pull towards the reference model: 0.1 is usual."),
    ] = 0.1
    loss: Annotated[
        Literal["kto", "apo_zero_unpaired"], Meta(description="kto, or apo_zero_unpaired (arXiv:2408.06266).")
    ] = "kto"
    good_weight: Annotated[
        float, Meta(ge=0, le=100, description="Weight of good answers; raise it if they are rare.")
    ] = 1.0
    bad_weight: Annotated[
        float, Meta(ge=0, le=100, description="Weight of bad answers; raise it if they are rare.")
    ] = 1.0


class Kto(Objective[Options]):
    about = "learn from answers labelled good or bad, without pairs"
    options = Options
    config = "trl.KTOConfig"
    rows = ("labelled", "preference")
    metrics = {
        "rewards/margins": "reward_margin",
        "rewards/chosen": "reward_chosen",
        "rewards/rejected": "reward_rejected",
        "logps/chosen": "logp_chosen",
        "logps/rejected": "logp_rejected",
        "kl": "kl_estimate",
    }
    own = {
        "beta": "objective.beta",
        "loss_type": "objective.loss",
        "desirable_weight": "objective.good_weight",
        "undesirable_weight": "objective.bad_weight",
        "precompute_ref_log_probs": "nothing else: finetop sets it when all weights are trained",
    }

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse batches of one: kto estimates the KL from mismatched answers within a batch."""
        options: Options = recipe.objective.options
        for key in ("batch_size", "eval_batch_size"):
            if options.loss == "kto" and getattr(recipe.train, key) == 1:
                name = f"train.{key}"
                yield name, f"{name} is 1; kto compares answers within a batch.", "Set it to 2."

    def examples(
        self, rows: Sequence[Row], options: Options, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Tokenize each answer with its prompt; of a pair, both. Raises BadInput."""
        from finetop.core.data import preferences

        return preferences.labelled(rows, tokenizer)

    def make_trainer(self, setup: Setup) -> Any:
        """Build TRL's trainer over tokenized answers, shuffled by the seed; the reference model is as in dpo."""
        from trl import KTOConfig, KTOTrainer

        from finetop.core.train.trainers import language

        options: Options = setup.recipe.objective.options
        values = {
            **language.reference_values(setup),
            "loss_type": options.loss,
            "desirable_weight": options.good_weight,
            "undesirable_weight": options.bad_weight,
            "max_length": None,  # rows are already truncated
            "train_sampling_strategy": "sequential",  # mismatched answers join each batch below
        }

        class TokenizedKTO(language.with_shared_reference(KTOTrainer, setup)):  # type: ignore[misc]
            def _prepare_dataset(
                self, dataset: Any, processing_class: Any, args: Any, dataset_name: str
            ) -> Any:
                is_train = dataset_name == "train"
                if is_train:
                    dataset = dataset.shuffle(seed=setup.recipe.train.seed)
                if not self.calculate_KL:
                    return dataset
                size = args.per_device_train_batch_size if is_train else args.per_device_eval_batch_size
                return dataset.map(_mismatched, batched=True, batch_size=size)

        with language.switched_off(setup.model), language.unhashed(setup.model):
            return language.build(setup, TokenizedKTO, KTOConfig, values, self.own)


def _mismatched(batch: dict[str, Any]) -> dict[str, Any]:
    """Pair each prompt with its neighbour's answer, from which the KL is estimated, as TRL does."""
    answers = batch["completion_ids"]
    return {**batch, "KL_completion_ids": [answers[-1], *answers[:-1]]}


PLUGIN = Kto()
