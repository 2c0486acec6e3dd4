"""The training state beside a checkpoint's weights: all that a bit-exact resume needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from finetop.core.models import checkpoint, collectives, shards
from finetop.core.train.resume import random_state, sharded, state_files

STATE = checkpoint.STATE
FORMAT = 1
OWN = "trainer"  # folder of the state that finetop's own trainer saves itself
TRAINER_STATE = "trainer_state.json"  # transformers' own file name
TOKENS = "_total_train_tokens"
COUNTS = (TOKENS, "_step")  # of TRL's trainers, which do not save them


def keep(trainer: Any) -> Callable[[Path], None]:
    """Collect what resuming needs: optimizer, rates, generators, counts, an adapter's tensors as they are in memory.

    All ranks take part. Returns a function that writes it to FOLDER/state, on the first rank. A trainer with
    `save_state(folder)` and `load_state(folder)` saves its own state.
    """
    tree: dict[str, Any] = {"format": FORMAT}
    tree["callbacks"] = {type(keeper).__name__: keeper.keep(trainer.model) for keeper in keepers(trainer)}
    optimizer = {} if has_own_state(trainer) else trainer.optimizer.state_dict()
    if sharded.is_wanted(trainer.model):
        names = sharded.save(trainer.model, optimizer["state"], _aside(trainer))
        optimizer = {**optimizer, "state": sharded.without(optimizer["state"], names)}
        tree |= {"weights": None, sharded.NAMES: names}
    else:
        tree["weights"] = held_tensors(trainer.model)
    if not has_own_state(trainer):
        tree |= _of_transformers(trainer, optimizer)
    return partial(_write, trainer, tree)


def _aside(trainer: Any) -> Path:
    return Path(trainer.args.output_dir) / sharded.ASIDE


def _write(trainer: Any, tree: dict[str, Any], folder: Path) -> None:
    """Write the collected state. Raises OSError, or the library's own error, on a full disk."""
    target = folder / STATE
    target.mkdir(mode=0o700)
    if has_own_state(trainer):
        (target / OWN).mkdir(mode=0o700)
        trainer.save_state(target / OWN)
    else:
        _save_counts(trainer, target / TRAINER_STATE)
    if sharded.NAMES in tree:
        _aside(trainer).rename(target / sharded.FOLDER)
    state_files.save(tree, target)


def has_own_state(trainer: Any) -> bool:
    """Return whether a trainer saves its own state; transformers' trainer has a different `save_state`."""
    return hasattr(trainer, "load_state")


def _of_transformers(trainer: Any, optimizer: dict[str, Any]) -> dict[str, Any]:
    scaler = getattr(trainer.accelerator, "scaler", None)
    return {
        "optimizer": shards.whole(optimizer),
        "scheduler": {
            key: value for key, value in trainer.lr_scheduler.state_dict().items() if key != "lr_lambdas"
        },
        "random": random_state.now(),
        "ranks": collectives.gathered(random_state.now())[1:],
        "scaler": None if scaler is None else scaler.state_dict(),
        "counts": {name: getattr(trainer, name) for name in COUNTS if hasattr(trainer, name)},
    }


def _save_counts(trainer: Any, file: Path) -> None:
    """Write the trainer's own state; of its history only evaluations, since it grows with every step."""
    state = trainer.state
    whole = state.log_history
    state.log_history = [entry for entry in whole if "eval_loss" in entry]
    try:
        state.save_to_json(str(file))
    finally:
        state.log_history = whole


def held_tensors(model: Any) -> dict[str, Tensor] | None:
    """Return the weights whose saved form differs from the one in memory; None if there are none."""
    if shards.is_rounded(model):
        return shards.state_of(model, rounded=False)
    held = adapter_tensors(model)
    return None if held is None else shards.whole(held)


def adapter_tensors(model: Any) -> dict[str, Tensor] | None:
    """Return an adapter's tensors as in memory, which may differ from their saved form; None if there is none."""
    if not shards.is_adapter(model):
        return None
    name = model.active_adapter
    named = dict(model.named_parameters())
    held = {key: weight for key, weight in named.items() if weight.requires_grad or name in key.split(".")}
    return held | {key: tensor for key, tensor in model.named_buffers() if name in key.split(".")}


def keepers(trainer: Any) -> list[Any]:
    """Return the callbacks with state that can't be recomputed: they have `keep(model)` and `put_back(model, tree)`."""
    return [callback for callback in trainer.callback_handler.callbacks if hasattr(callback, "put_back")]
