"""Pretraining from scratch: a new model of the recipe's architecture, with random weights, learns from texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput, first_line
from finetop.core.runtime.failures import is_of_machine
from finetop.core.train.objectives import Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.data.training_set import ReadData
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.models.shape import Shape
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup


TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
Size = Annotated[int, Meta(ge=1, le=10**6)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is pretrain. A size that is null is taken from model.id."""

    layers: Annotated[
        Size | None, Meta(description="Number of layers; null for as many as model.id has.")
    ] = 4
    hidden_size: Annotated[Size | None, Meta(description="Width of the model.")] = 192
    heads: Annotated[Size | None, Meta(description="Attention heads; must divide hidden_size.")] = 6
    key_value_heads: Annotated[
        Size | None, Meta(description="Key/value heads; must divide heads. Null for as many as heads.")
    ] = 2
    intermediate_size: Annotated[
        Size | None, Meta(description="Width of the feed-forward part; null for 8/3 of hidden_size.")
    ] = None
    tokenizer: Annotated[
        Literal["train", "reuse"],
        Meta(
            description="train: a new BPE tokenizer on these texts (arXiv:1508.07909); reuse: the one of model.id."
        ),
    ] = "train"
    vocabulary: Annotated[
        int, Meta(ge=300, le=10**6, description="Vocabulary size of a trained tokenizer.")
    ] = 4096
    packing: Annotated[
        bool, Meta(description="Pack several short texts into one sequence: faster, same loss.")
    ] = True


class Pretrain(Objective[Options]):
    about = "train a small new model from scratch on texts"
    options = Options
    rows = ("text", "conversation")
    compares = False  # there is no trained base to compare with
    own_model = True

    def limits(self, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
        """Refuse settings that need existing weights, and sizes that do not divide one another."""
        if recipe.method.name != "full":
            name = recipe.method.name
            message = f"method.name: pretrain trains all weights from scratch, but {name} trains only some."
            yield "method.name", message, "Set method.name to full."
        if recipe.model.quantize != "none":
            message = "model.quantize: new weights are not quantized."
            yield "model.quantize", message, "Set model.quantize to none."
        options = recipe.objective.options
        heads, hidden = options.heads, options.hidden_size
        if heads and hidden and hidden % heads:
            message = f"objective.heads: {heads} heads do not divide hidden_size {hidden}."
            hint = f"Set it to {_divisor(hidden, heads)}, for example, which divides it."
            yield "objective.heads", message, hint
        if heads and options.key_value_heads and heads % options.key_value_heads:
            message = f"objective.key_value_heads: {options.key_value_heads} do not divide {heads} heads."
            fit = _divisor(heads, options.key_value_heads)
            yield "objective.key_value_heads", message, f"Set it to {fit}, for example, which divides them."

    def make_tokenizer(self, options: Options, base: ResolvedModel, rows: ReadData) -> Tokenizer:
        """Train a tokenizer of the base's kind on the texts, or load the base's. Raises BadInput if it can't."""
        from finetop.core.models import load

        tokenizer = load.load_tokenizer(base)
        if options.tokenizer == "reuse":
            return tokenizer
        if not tokenizer.is_fast:
            hint = "Set objective.tokenizer to reuse, or pick a model with a tokenizer.json."
            raise BadInput("objective.tokenizer: that of model.id can't be trained.", hint=hint)
        texts, count = texts_to_train(rows), options.vocabulary
        trained: Tokenizer = tokenizer.train_new_from_iterator(texts, count, show_progress=False)
        # The recipe's or the default one: tokenizer files alone do not have it.
        trained.chat_template = tokenizer.chat_template
        print(f"tokenizer: {len(trained)} tokens, trained on the texts")
        return trained

    def light_tokenizer(self, options: Options, tokenizer: Any, rows: ReadData, most: int) -> Any:
        """Make the same tokenizer for a plan, from a LightTokenizer; None if it can't, or over `most` characters."""
        if options.tokenizer == "reuse":
            return tokenizer
        if sum(map(len, texts_to_train(rows))) > most:
            return None
        try:
            return tokenizer.trained(texts_to_train(rows), options.vocabulary)
        except ValueError:
            return None

    def sizes(self, options: Options, hidden: int, heads: int | None, vocabulary: int) -> dict[str, int]:
        """Return the sizes of the new model as its config.json has them; the arguments are the base's."""
        is_reshaped = bool(options.hidden_size or options.heads)
        hidden, heads = options.hidden_size or hidden, options.heads or heads
        new = {
            "num_hidden_layers": options.layers,
            "hidden_size": options.hidden_size,
            "num_attention_heads": options.heads,
            "num_key_value_heads": options.key_value_heads or heads,
            "intermediate_size": options.intermediate_size or -(-hidden * 8 // 3 // 8) * 8,
            "head_dim": hidden // heads if is_reshaped and heads else None,
            "vocab_size": vocabulary if options.tokenizer == "reuse" else options.vocabulary,
        }
        return {name: value for name, value in new.items() if value is not None}

    def causal_shape(self, options: Options, base: ResolvedModel) -> Shape | None:
        """Return the shape of the new model. Raises BadInput if there is no model in these sizes."""
        import torch

        from finetop.core.models import load, shape

        with torch.device("meta"):
            remote = base.trust_remote_code
            return shape.read(self.build(options, load.read_config(base), trust_remote_code=remote))

    def load_model(
        self, options: Options, base: ResolvedModel, tokenizer: Tokenizer, dtype: torch.dtype, device: str
    ) -> PreTrainedModel:
        """Build a model of the base's architecture in these sizes, with random weights. Raises BadInput."""
        import torch

        from finetop.core.models import load

        tokens = {name: getattr(tokenizer, name) for name in TOKENS}
        with torch.device("meta" if device == "meta" else "cpu"):
            given = {"vocab_size": len(tokenizer), **tokens}
            remote = base.trust_remote_code
            model = self.build(options, load.read_config(base), given, dtype=dtype, trust_remote_code=remote)
        count = sum(weight.numel() for weight in model.parameters())
        print(f"a new {model.config.model_type} model of {count:,} parameters")
        for name, token in tokens.items():
            setattr(model.generation_config, name, token)
        return model.to(device)

    def build(
        self, options: Options, config: Any, given: Mapping[str, int | None] | None = None, **arguments: Any
    ) -> PreTrainedModel:
        """Build a model of a config's architecture in new sizes, on torch's device. Raises BadInput.

        `given` replaces more of the config, `arguments` are from_config's.
        """
        from transformers import AutoModelForCausalLM

        kind = config.model_type
        try:
            config = self.resized(options, config, given or {})
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, **arguments)
        except Exception as error:  # each architecture has its own errors for sizes that it does not come in
            if is_of_machine(error):
                raise
            reason = first_line(error.__cause__ or error).rstrip(".")
            message = f"objective: no {kind} model can be made in these sizes: {reason}."
            hint = "Give a model.id of another architecture, such as a Llama, or other sizes."
            raise BadInput(message, hint=hint) from error
        return model

    def resized(self, options: Options, config: Any, given: Mapping[str, int | None]) -> Any:
        """Return a base's config in the new model's sizes; of a model that also sees, its text part's."""
        config = config.get_text_config()
        layers, heads = config.num_hidden_layers, getattr(config, "num_attention_heads", None)
        new = self.sizes(options, config.hidden_size, heads, config.vocab_size)
        new |= {name: value for name, value in given.items() if value is not None}
        hidden = new.get("hidden_size", config.hidden_size)
        if hasattr(config, "expand"):  # a state space's widths follow from hidden_size
            new["intermediate_size"] = config.expand * hidden
            new["num_heads"] = config.expand * hidden // new.get("head_dim", getattr(config, "head_dim", 1))
        if heads and getattr(config, "head_dim", 0) is None:
            new.setdefault("head_dim", hidden // new.get("num_attention_heads", heads))
        for name, value in new.items():
            with suppress(AttributeError):  # the architecture computes it from the others
                if hasattr(config, name) or name == "vocab_size":
                    setattr(config, name, value)
        if getattr(config, "rotary_dim", None):
            config.rotary_dim = min(config.rotary_dim, new.get("head_dim", config.rotary_dim))
        if getattr(config, "rope_parameters", None) and new.get("head_dim", 0) % 2:
            raise ValueError(f"its rotary positions need an even number per head, not {new['head_dim']}")
        if (getattr(config, "pad_token_id", None) or 0) >= config.vocab_size:
            config.pad_token_id = 0  # the base's lies outside the new vocabulary
        for name, value in config.to_dict().items():
            if name.endswith("layer_types") and isinstance(value, list) and len(value) == layers:
                setattr(config, name, list(islice(cycle(value), config.num_hidden_layers)))
        return type(config).from_dict(config.to_dict())  # as a saved checkpoint is read

    def examples(
        self, rows: Sequence[Row], options: Options, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Cut each text, with an end-of-text token, into pieces of at most `max_tokens`."""
        from finetop.core.data import text_chunks

        return text_chunks.examples(rows, tokenizer, max_tokens, end_of_text=True)

    def make_trainer(self, setup: Setup) -> Any:
        from finetop.core.train.trainers import language

        return language.make_trainer(setup)


def _divisor(whole: int, near: int) -> int:
    """Return the largest divisor of `whole` up to `near`."""
    return next(number for number in range(min(whole, near), 0, -1) if whole % number == 0)


def texts_to_train(rows: ReadData) -> Iterator[str]:
    """Yield the texts that a tokenizer is trained on."""
    from finetop.core.data.formats import texts_of

    return (text for source in rows.train for row in source.rows for text in texts_of(row.record))


PLUGIN = Pretrain()
