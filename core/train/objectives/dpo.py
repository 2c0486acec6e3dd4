"""Direct preference optimization (arXiv:2305.18290): make chosen answers likelier than rejected ones."""

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


Loss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
    "sft",
]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is dpo."""

    beta: Annotated[
        float,
        Meta(gt=0, le=100, description="Strength of the pull towards the reference model: 0.1 is usual."),
    ] = 0.1
    loss: Annotated[
        Loss | tuple[Loss, ...],
        Meta(
            description="Loss: sigmoid is standard DPO; also hinge, ipo, robust, apo_zero …; a list is summed."
        ),
    ] = "sigmoid"
    loss_weights: Annotated[
        tuple[float, ...],
        Meta(description="One weight per loss in the list, such as [1, 0.5]; [] for 1 each."),
    ] = ()
    label_smoothing: Annotated[
        float, Meta(ge=0, lt=0.5, description="Assumed share of pairs with swapped labels.")
    ] = 0.0


class Pairs(Objective[Any]):
    rows = ("preference",)

    def examples(
        self, rows: Sequence[Row], options: Any, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Tokenize each pair with its prompt. Raises BadInput."""
        from finetop.core.data import preferences

        return preferences.pairs(rows, tokenizer)


class Dpo(Pairs):
    about = "learn from preferred and rejected answers, without a reward model"
    options = Options
    config = "trl.DPOConfig"
    metrics = {
        "rewards/margins": "reward_margin",
        "rewards/accuracies": "reward_accuracy",
        "rewards/chosen": "reward_chosen",
        "rewards/rejected": "reward_rejected",
        "logps/chosen": "logp_chosen",
        "logps/rejected": "logp_rejected",
    }
    own = {
        "beta": "objective.beta",
        "loss_type": "objective.loss",
        "label_smoothing": "objective.label_smoothing",
        "precompute_ref_log_probs": "nothing else: finetop sets it when all weights are trained",
    }

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse loss weights whose number differs from the losses', and losses that need label smoothing."""
        options: Options = recipe.objective.options
        losses = options.loss if isinstance(options.loss, tuple) else (options.loss,)
        if options.loss_weights and len(options.loss_weights) != len(losses):
            message = f"objective.loss_weights: {len(options.loss_weights)} weights for {len(losses)} losses."
            hint = f"Write one for each, such as {list(range(1, 1 + len(losses)))}."
            yield "objective.loss_weights", message, hint
        if not losses:
            yield "objective.loss", "objective.loss is empty.", "Set it to sigmoid, for example."
        if "exo_pair" in losses and not options.label_smoothing:
            hint = "Set objective.label_smoothing to 0.001."
            yield "objective.loss", "objective.loss: exo_pair is not defined without label_smoothing.", hint

    def make_trainer(self, setup: Setup) -> Any:
        from trl import DPOConfig, DPOTrainer

        from finetop.core.train.trainers import language

        options: Options = setup.recipe.objective.options
        values = {
            **language.reference_values(setup),
            "loss_type": list(options.loss) if isinstance(options.loss, tuple) else [options.loss],
            "loss_weights": list(options.loss_weights) or None,
            "label_smoothing": options.label_smoothing,
            "max_length": None,  # rows are already truncated
        }

        class TokenizedDPO(language.with_shared_reference(DPOTrainer, setup)):  # type: ignore[misc]
            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset

        with language.switched_off(setup.model), language.unhashed(setup.model):
            return language.build(setup, TokenizedDPO, DPOConfig, values, self.own)


PLUGIN = Dpo()
