"""Resumes from a checkpoint: the training state saved beside the weights is restored bit for bit.

A resumed run starts like a new one (the base scored, references and drift measured on fresh weights); then the
checkpoint's weights replace the fresh ones, optimizer and random generators get their states back, and the rows
continue where they stopped. Events of later steps are superseded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import RandomSampler, Sampler
from transformers import TrainerCallback

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import BadInput, EnvironmentTrouble, first_line
from finetop.core.models import checkpoint, collectives, shards
from finetop.core.models.resolved import ResolvedModel
from finetop.core.protocol.events import Resumed
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import paged
from finetop.core.train.resume import random_state, sharded, state_files
from finetop.core.train.resume.earlier_jobs import fingerprints
from finetop.core.train.resume.resume_point import ResumePoint
from finetop.core.train.resume.training_state import FORMAT, OWN, STATE, TOKENS, has_own_state, keepers

if TYPE_CHECKING:
    from finetop.core.train.meter import Meter

# A resumed run takes these optimizer settings from its recipe, which may have been changed.
SETTINGS = ("lr", "initial_lr", "weight_decay", "betas", "eps", "momentum")
PARTS = {"weights": dict | None, "callbacks": dict}
PARTS_OF_TRANSFORMERS = {
    "optimizer": dict,
    "scheduler": dict,
    "random": dict,
    "scaler": dict | None,
    "counts": dict,
}
ANOTHER = "Resume from another checkpoint: finetop resume RUN@STEP."


def require_same(base: ResolvedModel, point: ResumePoint) -> None:
    """Check that base and rows are those that the run began with. Raises BadInput."""
    if point.folder is None:
        return
    known = checkpoint.weights_hash_of(point.folder)
    if known is not None and known != base.weights_hash:
        message = f"model.id: the weights of {base.id} are not those that the run started with."
        hint = f"Their sha256 was {known[:16]} and is now {base.weights_hash[:16]}: restore them."
        raise BadInput(message, hint=hint)
    require_same_data(point.earlier.data, fingerprints(point.job_folder), anyway=point.anyway)


def require_same_data(before: Mapping[str, str], now: Mapping[str, str], *, anyway: bool) -> None:
    """Check that the rows are those trained on so far. Raises BadInput that names the source."""
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not before or not changed:
        return
    message = f"data: the rows of {changed[0]} have changed since the run began"
    if len(changed) > 1:
        message += f" (and those of {len(changed) - 1} more)"
    if not anyway:
        hint = "Restore them, or resume with --anyway, which trains on the new ones."
        raise BadInput(f"{message}.", hint=hint)
    print(f"{message}; it continues with them", flush=True)


def announce(point: ResumePoint | None, run_folder: Path, last: int, events: EventLog) -> None:
    """Report where the run resumes, and remove later, void checkpoints. Raises BadInput if nothing is left to do."""
    if point is None:
        return
    if point.step >= last:
        message = f"nothing is left to do: step {point.step} is done, and the run ends at {last}."
        raise BadInput(message, hint="Raise its length: --set train.epochs=N, or train.max_steps.")
    for folder in checkpoint.folders(run_folder) if collectives.rank() == 0 else ():
        if checkpoint.step_of(folder) > point.step:
            checkpoint.remove(folder)
    events.write(Resumed(point.step))
    print(f"resuming from step {point.step} of {last}", flush=True)


def repeatable(trainer: Any, seed: int) -> None:
    """Make the order of rows depend on seed and epoch alone, not on numbers drawn before.

    A sampler on torch's global generator orders the second epoch by everything that dropout drew in the first: resumed
    in that epoch, it would repeat some rows and skip others.
    """
    original = getattr(trainer, "_get_train_sampler", None)
    if original is None:
        return

    def seeded(*given: Any) -> Any:
        sampler = original(*given)
        if hasattr(sampler, "lengths"):  # rows are grouped by length over the batches of all ranks
            sampler.batch_size *= collectives.count()
        plain = sampler is None or isinstance(sampler, RandomSampler) or not hasattr(sampler, "generator")
        return sampler if plain else SeededByEpoch(sampler, seed)

    trainer._get_train_sampler = seeded  # noqa: SLF001  # its Trainer calls it


class SeededByEpoch(Sampler[int]):  # type: ignore[misc]  # the library is untyped
    """A sampler whose generator is reseeded at each epoch."""

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed((self.seed << 24) + self.epoch)
        return iter(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, from 0."""
        self.epoch = epoch


def train(trainer: Any, point: ResumePoint | None, meter: Meter) -> None:
    """Train from the start or a checkpoint; set `meter`'s tokens. Raises EnvironmentTrouble for an unfit state."""
    if point is None or point.folder is None:
        trainer.train()
        return
    folder = point.folder
    tree = read_state(folder / STATE, whole=not has_own_state(trainer))
    trainer.add_callback(Restorer(trainer, folder, tree))  # last: others read the fresh weights first
    if has_own_state(trainer):
        with fitting("the trainer's state", folder):
            trainer.load_state(folder / STATE / OWN)
        meter.tokens = float(getattr(trainer, "tokens", 0))
        trainer.train()
        return
    trainer._load_from_checkpoint = lambda *_: None  # noqa: SLF001  # its Trainer calls it
    trainer._load_optimizer_and_scheduler = fitting("the optimizer's state", folder)(  # noqa: SLF001  # its Trainer calls it
        lambda _: restore_optimizer(trainer, tree, folder)
    )
    trainer._load_scaler = lambda _: None  # noqa: SLF001  # its Trainer calls it
    trainer._load_rng_state = fitting("the random state", folder)(  # noqa: SLF001  # its Trainer calls it
        lambda _: random_state.put_back(random_of(tree))
    )
    for name, count in tree["counts"].items():
        if hasattr(trainer, name):
            setattr(trainer, name, count)
    meter.tokens = float(tree["counts"].get(TOKENS, 0))
    trainer.train(resume_from_checkpoint=str(folder / STATE))


def random_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the saved state of this rank's generators; their present one for a rank that did not exist before."""
    states: list[dict[str, Any]] = [tree["random"], *tree.get("ranks", ())]
    rank = collectives.rank()
    return states[rank] if rank < len(states) else random_state.now()


def read_state(folder: Path, *, whole: bool) -> dict[str, Any]:
    """Read what `keep` wrote; `whole` includes what transformers needs. Raises EnvironmentTrouble for anything else."""
    tree = state_files.load(folder)
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise EnvironmentTrouble(f"{folder} was written by another version of finetop.", hint=ANOTHER)
    for name, kinds in {**PARTS, **(PARTS_OF_TRANSFORMERS if whole else {})}.items():
        if name not in tree or not isinstance(tree[name], kinds):
            raise EnvironmentTrouble(f"{folder} is damaged: it holds no {name}.", hint=ANOTHER)
    return tree


class Restorer(TrainerCallback):  # type: ignore[misc]
    """Replaces the fresh weights by the checkpoint's when training begins."""

    def __init__(self, trainer: Any, folder: Path, tree: dict[str, Any]) -> None:
        self.trainer = trainer
        self.folder = folder
        self.tree = tree

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = self.trainer.model
        if self.tree["weights"] is not None:
            put_in_place(model, self.tree["weights"])
        else:
            load_whole(model, self.folder)
        if names := self.tree.get(sharded.NAMES):
            with fitting("the weights", self.folder):
                sharded.read_weights(model, names, self.folder / STATE / sharded.FOLDER)
        for keeper in keepers(self.trainer):
            if (name := type(keeper).__name__) in self.tree["callbacks"]:
                keeper.put_back(model, self.tree["callbacks"][name])
        self.tree = {}  # the optimizer has its state by now: free this copy


def put_in_place(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors over those of the same names. Raises EnvironmentTrouble if one does not fit."""
    held = _held(model)
    for name, tensor in tensors.items():
        if name not in held or held[name].shape != tensor.shape:
            raise EnvironmentTrouble(f"the checkpoint's {name} does not fit the model.", hint=ANOTHER)
        shards.fill(held, {name: tensor})


def _held(model: Any) -> dict[str, Tensor]:
    """Return a model's weights and buffers by name; one that is used in two places (a tied head) has both names."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    return {**weights, **dict(model.named_buffers(remove_duplicate=False))}


def load_whole(model: Any, folder: Path) -> None:
    """Copy a checkpoint's weights over a whole model's. Raises EnvironmentTrouble if a trained one is missing."""
    from safetensors import safe_open

    held = _held(model)
    loaded: set[int] = set()
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            names = [name for name in opened.keys() if name in held]  # noqa: SIM118  # no mapping
            for name in names:
                put_in_place(model, {name: opened.get_tensor(name)})
                loaded.add(id(held[name]))
    missing = [name for name, w in model.named_parameters() if w.requires_grad and id(w) not in loaded]
    if missing:
        message = f"{folder}: it has no weights for {missing[0]} ({len(missing)} missing)."
        raise EnvironmentTrouble(message, hint=ANOTHER)


@contextmanager
def fitting(what: str, folder: Path) -> Iterator[None]:
    """Turn errors of restoring a state into EnvironmentTrouble that names the checkpoint."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        message = f"{folder / STATE}: {what} can't be restored: {first_line(error)}."
        raise EnvironmentTrouble(message, hint=ANOTHER) from error


def restore_optimizer(trainer: Any, tree: Mapping[str, Any], folder: Path) -> None:
    """Restore the optimizer's state and the schedule's position; rates and decay come from the present recipe."""
    optimizer, schedule = trainer.optimizer, trainer.lr_scheduler
    fresh = [{key: group[key] for key in SETTINGS if key in group} for group in optimizer.param_groups]
    saved = tree["optimizer"]
    paged_before = paged.buffers(optimizer)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if names := tree.get(sharded.NAMES):
        sharded.read_state(saved["state"], names, weights, folder / STATE / sharded.FOLDER)
    for index, values in saved["state"].items():
        saved["state"][index] = divided(values, weights[int(index)])
    optimizer.load_state_dict(saved)
    for index, values in saved["state"].items():
        _as_saved(optimizer.state[weights[int(index)]], values)
    paged.page_again(optimizer, paged_before)
    for group, settings in zip(optimizer.param_groups, fresh, strict=True):
        group.update(settings)
    if isinstance(schedule, LambdaLR):  # the curve comes from the recipe, whose run may be longer now
        put_at(schedule, int(tree["scheduler"]["last_epoch"]))
    else:
        schedule.load_state_dict(dict(tree["scheduler"]))
    scaler = getattr(trainer.accelerator, "scaler", None)
    if scaler is not None and tree["scaler"] is not None:
        scaler.load_state_dict(tree["scaler"])


def divided(values: Mapping[str, Any], weight: Tensor) -> dict[str, Any]:
    """Shard an optimizer's tensors of a weight like the weight itself; values of other shapes stay whole."""
    same = {key for key, value in values.items() if getattr(value, "shape", None) == weight.shape}
    return {key: shards.like(value, weight) if key in same else value for key, value in values.items()}


def _as_saved(held: dict[str, Any], saved: Mapping[str, Any]) -> None:
    """Restore the saved number formats: `load_state_dict` casts an optimizer's tensors to the weight's own."""
    for name, value in saved.items():
        tensor: Any = held.get(name)
        both = isinstance(value, torch.Tensor) and isinstance(tensor, torch.Tensor)
        if both and tensor.dtype != value.dtype:
            held[name] = value.to(tensor.device)


def put_at(schedule: LambdaLR, step: int) -> None:
    """Move a fresh schedule to where it is after `step` steps, and set its optimizer's rates."""
    schedule.last_epoch, schedule._step_count = step, step + 1  # noqa: SLF001  # torch sets it in step() alone
    rates = [rate * curve(step) for rate, curve in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates  # noqa: SLF001  # torch sets it in step() alone
