"""The trainer of objectives that learn texts token by token: TRL's SFTTrainer over rows that are labelled already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.train.trainer_args import configure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.examples import AnyExample
    from finetop.core.train.trainer_setup import Setup


def make_trainer(setup: Setup, *, packing: bool, neftune_alpha: float | None = None) -> Any:
    """Build the trainer; it prints and cuts nothing. Rows of like length stand together, or are packed."""
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    values = {
        **setup.arguments,
        "packing": packing,
        "max_length": setup.recipe.data.max_tokens if packing else None,  # rows are already cut
        "neftune_noise_alpha": neftune_alpha,
        "train_sampling_strategy": "random" if packing else "group_by_length",
    }
    trainer = SFTTrainer(
        model=setup.model,
        args=configure(SFTConfig, values, setup.recipe.trainer_args),
        train_dataset=table(setup.train),
        eval_dataset=table(setup.eval) if setup.eval else None,
        processing_class=setup.tokenizer,
        callbacks=setup.hooks,
        optimizers=(setup.optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def table(examples: Sequence[AnyExample]) -> Any:
    """Make a data set of examples, a column for each of their parts."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    columns = [example.columns() for example in examples]
    return Dataset.from_dict({name: [column[name] for column in columns] for name in columns[0]})
