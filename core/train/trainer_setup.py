"""What an objective builds its trainer from, and what the method adds: trained weights, optimizer, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.models.resolved import ResolvedModel
from finetop.core.train import methods
from finetop.core.train.methods import _start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.models.engine import Engine
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

WINDOW = 256  # tokens of general text per window


@dataclass
class Setup:
    """A run that is about to train."""

    recipe: Recipe
    base: ResolvedModel
    tokenizer: Tokenizer
    model: Any  # a transformers model, or a PEFT model around one
    dtype: str
    device: str
    run_folder: Path
    home: Home
    events: EventLog
    train: Sequence[AnyExample]
    eval: Sequence[AnyExample]
    arguments: dict[str, Any]  # common to all transformers trainers
    hooks: list[Any] = field(default_factory=list)  # its callbacks
    engine: Engine = "exact"  # generates answers during training, unless vLLM does


def prepare(
    recipe: Recipe,
    base: ResolvedModel,
    tokenizer: Tokenizer,
    model: Any,
    train: Sequence[AnyExample],
    home: Home,
) -> Any:
    """Return the model with the method's weights trainable. Raises BadInput."""
    start = _start.Start(
        seed=recipe.train.seed,
        examples=[[token for tokens, _ in example.runs() for token in tokens] for example in train],
        general=lambda: general_windows(recipe, tokenizer, home),
        pad_token_id=tokenizer.pad_token_id,
        quantize=recipe.model.quantize,
        base_path=base.path,
    )
    return methods.load(recipe.method.name).prepare(model, recipe.method.options, start)


def general_windows(recipe: Recipe, tokenizer: Tokenizer, home: Home) -> list[list[int]]:
    """Cut the general text of the recipe's suite into windows of tokens; empty if there is no text."""
    from finetop.core.check.tasks import suite

    text = suite.general_text(recipe, home) or ""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return [ids[at : at + WINDOW] for at in range(0, len(ids), WINDOW)]


def make_trainer(build: Callable[[Setup], Any], setup: Setup) -> Any:
    """Build the objective's trainer, with the method's callbacks and optimizer."""
    from finetop.core.models import shards
    from finetop.core.train import cpu_lm_head, cpu_lora, lora_inputs, master, plain_loss, stochastic_adamw

    method, options = methods.load(setup.recipe.method.name), setup.recipe.method.options
    if setup.device == "cpu":
        cpu_lm_head.install()
        if not (shards.is_divided(setup.model) or setup.recipe.train.compile):
            cpu_lora.install(setup.model)
    lora_inputs.install(setup.model)
    plain_loss.take_if_needed(setup.device, setup.events)
    setup.hooks = [*setup.hooks, *method.callbacks(options)]
    held = None  # sharded weights are float32 already
    if not shards.is_divided(setup.model):
        held = master.hold(setup.model, setup.recipe, setup.dtype, setup.device)
    mixed = partial(master.mixed, held, setup.dtype, setup.device)
    with unrounded(setup.model), mixed():
        trainer = build(setup)
    if held == "float32":  # samples, drift and protections must compute as the trainer does
        inner = trainer.model.get_base_model() if shards.is_adapter(trainer.model) else trainer.model
        inner.forward = mixed()(inner.forward)
    if shards.is_divided(setup.model):
        # It would keep whole gradients on each GPU until the last batch of a step: 32 GB for an 8B model in float32.
        trainer._defer_fsdp_gradient_reduction = nullcontext  # noqa: SLF001  # its Trainer calls it
    own = method.optimizer(trainer.model, options, trainer.args)
    if own is None and held == "stochastic":
        own = stochastic_adamw.make(trainer)
    if own is not None:
        trainer.optimizer = own
    return trainer


@contextmanager
def unrounded(model: Any) -> Iterator[None]:
    """Restore the format of trained weights: TRL rounds those on quantized weights to bfloat16.

    With bfloat16's 8 significant bits a step of 1e-4 of a weight's size is lost; PEFT makes them float32 for that
    reason. For an adapter of rank 16 on a 70B model that takes 0.4 GB more.
    """
    trained = [(weight, weight.data) for weight in model.parameters() if weight.requires_grad]
    yield
    for weight, data in trained:
        weight.data = data
