"""Objectives: what the weights learn from. One file each, found by listing this folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.plugins import OBJECTIVES, ObjectiveFacts, Options, PluginKind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.formats import Kind
    from finetop.core.data.sources import Row
    from finetop.core.data.training_set import ReadData
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.models.shape import Shape
    from finetop.core.train.trainer_setup import Setup


class Objective(ObjectiveFacts[Options]):
    """The training objective."""

    rows: Sequence[Kind]
    config = "trl.SFTConfig"  # the class of its trainer's arguments
    own_model = False  # load_model returns another model than the causal one that the recipe names

    def make_tokenizer(self, options: Options, base: ResolvedModel, rows: ReadData) -> Tokenizer:
        """Return the tokenizer to train with: the base's, or one trained on the rows."""
        from finetop.core.models import load

        tokenizer = load.load_tokenizer(base)
        if load.has_plain_template(tokenizer):
            print(
                "the model has no chat template: a plain one (### Question, ### Answer) is used and saved with it"
            )
        return tokenizer

    def causal_shape(self, options: Options, base: ResolvedModel) -> Shape | None:
        """Return the shape of the causal model whose layers its own model has, from config.json; None without one.

        Raises BadInput if its own model can't be made.
        """
        import torch

        from finetop.core.models import load, shape

        try:
            with torch.device("meta"):
                return shape.read(load.shape_of(base))
        except (ArithmeticError, AttributeError, ImportError, RuntimeError, FinetopError):
            return None  # the job says what is wrong with it

    def load_model(
        self, options: Options, base: ResolvedModel, tokenizer: Tokenizer, dtype: torch.dtype, device: str
    ) -> PreTrainedModel:
        """Load the model that is trained."""
        from finetop.core.models import load

        return load.load_model(base, dtype, device)[0]

    @abstractmethod
    def examples(
        self, rows: Sequence[Row], options: Options, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Make the examples of each row. Raises BadInput."""

    @abstractmethod
    def make_trainer(self, setup: Setup) -> Any:
        """Build a transformers Trainer, or what has its train, model, state, args and train_dataset."""


KIND: PluginKind[Objective[Any]] = OBJECTIVES.of(Objective)
names, load = KIND.names, KIND.load
