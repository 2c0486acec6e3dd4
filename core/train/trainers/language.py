"""TRL's trainers over tokenized rows: how each is built, and the one that learns token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.models import collectives, shards
from finetop.core.recipe.length import packs
from finetop.core.train.trainer_args import configure
from finetop.core.train.trainers import masks

if TYPE_CHECKING:
    from finetop.core.data.examples import AnyExample
    from finetop.core.train.trainer_setup import Setup


def make_trainer(setup: Setup, *, neftune_alpha: float | None = None) -> Any:
    """Build TRL's SFTTrainer, which truncates nothing. Rows are grouped by length, or packed."""
    from trl import SFTConfig, SFTTrainer

    packing = packs(setup.recipe)
    values = {
        "packing": packing,
        "max_length": setup.recipe.data.max_tokens if packing else None,  # rows are already truncated
        "neftune_noise_alpha": neftune_alpha,
        "train_sampling_strategy": "random" if packing else "group_by_length",
    }
    return build(setup, SFTTrainer, SFTConfig, values)


def build(
    setup: Setup,
    trainer_class: Any,
    config_class: Any,
    values: Mapping[str, Any],
    own: Mapping[str, str] | None = None,
    *,
    table: Callable[[Sequence[Any]], Any] | None = None,
    padded: Literal["left", "right"] = "right",
    **more: Any,
) -> Any:
    """Build a TRL trainer that prints nothing. `more` are arguments of its class.

    `values` are its configuration beyond the common arguments, `own` maps each of them to its setting. `table` makes a
    data set of examples; by default, with a column for each of their parts. `padded` is the side on which its batches
    are padded. Raises BadInput for an invalid raw option of the recipe.
    """
    from transformers import PrinterCallback

    table = table or table_of
    trainer = trainer_class(
        model=setup.model,
        args=configure(config_class, {**setup.arguments, **values}, setup.recipe.trainer_args, own),
        train_dataset=table(setup.train),
        eval_dataset=table(setup.eval) if setup.eval else None,
        processing_class=setup.tokenizer,
        callbacks=setup.hooks,
        **more,
    )
    trainer.remove_callback(PrinterCallback)
    if padded == "right":
        masks.leave_out(trainer)
    return trainer


def table_of(examples: Sequence[AnyExample]) -> Any:
    """Return a data set of examples, with a column for each of their parts."""
    columns = [example.columns() for example in examples]
    return data_set({name: [column[name] for column in columns] for name in columns[0]})


def data_set(columns: Mapping[str, Sequence[Any]]) -> Any:
    """Return a data set of columns."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_dict(columns)


def reference_values(setup: Setup) -> dict[str, Any]:
    """Return the arguments that tell a preference trainer where its reference model is.

    The reference is the model as it began: with an adapter the same weights with the adapter off; if all weights are
    trained, its log-probabilities of all pairs are stored before the first step, so that no copy is kept.
    """
    from peft import PeftModel

    from finetop.core.protocol.events import Phase

    is_adapter = isinstance(setup.model, PeftModel)
    if not is_adapter:
        setup.events.write(Phase("scoring the rows before the first step"))
    return {"beta": setup.recipe.objective.options.beta, "precompute_ref_log_probs": not is_adapter}


def share_reference(dataset: Any, setup: Setup, name: str) -> None:
    """Make all ranks read the first one's reference scores: TRL's temporary file differs in each process."""
    if collectives.count() > 1:
        file = setup.run_folder / f"reference-{name}.arrow"
        collectives.from_first(lambda: file.unlink(missing_ok=True))
        dataset._get_cache_file_path = lambda _: str(file)  # noqa: SLF001  # datasets calls it


def with_shared_reference(trainer_class: Any, setup: Setup) -> Any:
    """Return a preference trainer's class whose ranks share the reference's scores."""

    class SharedReference(trainer_class):  # type: ignore[misc]
        def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
            share_reference(dataset, setup, name)
            return super()._precompute_ref_logps(dataset, name, batch_size)

    return SharedReference


@contextmanager
def unhashed(model: Any) -> Iterator[None]:
    """Keep TRL from hashing a sharded model's weights to name its file."""
    from trl.trainer import dpo_trainer, kto_trainer

    original = dpo_trainer.hash_module
    if shards.is_divided(model):
        dpo_trainer.hash_module = kto_trainer.hash_module = lambda _: ""
    try:
        yield
    finally:
        dpo_trainer.hash_module = kto_trainer.hash_module = original


@contextmanager
def switched_off(model: Any) -> Iterator[None]:
    """Make a TRL trainer built meanwhile believe that it has copied the adapter to `ref`, without a copy.

    TRL copies a given adapter, since it may have been trained before. Here it is fresh and changes nothing, so that the
    same weights with the adapter off are the reference, at no cost; and some adapters can't be copied (AdaLoRA's,
    PiSSA's halves). Without `ref`, TRL switches the adapter off. A model without an adapter is left as it is.
    """
    if not shards.is_adapter(model):
        yield
        return
    named = dict(model.named_parameters())
    model.add_adapter = lambda *_, **__: None
    model.get_parameter = lambda name: named[name.replace(".ref.", ".default.")]
    try:
        yield
    finally:
        del model.add_adapter, model.get_parameter
