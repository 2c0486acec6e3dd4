"""AdaLoRA: LoRA that moves its ranks to the layers that use them (arXiv:2303.10512)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.errors import BadInput
from finetop.core.train.methods import Method
from finetop.core.train.methods._adapter import listed, wrap
from finetop.core.train.methods._settings import Alpha, Dropout, ModulesToSave, TargetModules
from finetop.core.train.methods._start import Start

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, TrainerCallback


NAME = "default"  # PEFT's name of the adapter
UNKNOWN_STEPS = 10**9  # until training begins and the number is known


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `method:` when its name is adalora."""

    rank: Annotated[
        int, Meta(ge=1, le=4096, description="Average rank per layer at the end. 8 to 64 is usual.")
    ] = 8
    first_rank: Annotated[
        int, Meta(ge=1, le=4096, description="Initial rank of every layer; 1.5 times rank is usual.")
    ] = 12
    alpha: Alpha = 32.0
    wait: Annotated[
        float, Meta(ge=0, lt=1, description="Share of the run before the first rank is pruned.")
    ] = 0.1
    settle: Annotated[
        float, Meta(ge=0, lt=1, description="Share of the run, at its end, with fixed ranks.")
    ] = 0.3
    every: Annotated[int, Meta(ge=1, le=10**6, description="Steps between changes of the ranks.")] = 1
    orthogonality: Annotated[
        float, Meta(ge=0, le=100, description="Weight of the orthogonality penalty on both matrices.")
    ] = 0.5
    dropout: Dropout = 0.0
    target_modules: TargetModules = "all-linear"
    modules_to_save: ModulesToSave = ()


class AdaLora(Method[Options]):
    about = "LoRA that shifts rank, during training, to the layers that use it"
    options = Options
    spelled = {"rank": "target_r", "first_rank": "init_r", "alpha": "lora_alpha", "dropout": "lora_dropout"}

    def require(self, model: PreTrainedModel, options: Options) -> None:
        """Check that the modules exist and the ranks and shares are consistent. Raises BadInput."""
        super().require(model, options)
        if options.first_rank < options.rank:
            message = f"method.first_rank: {options.first_rank} is less than method.rank ({options.rank})."
            raise BadInput(message, hint=f"Ranks are only reduced: set {options.rank} or more.")
        if options.wait + options.settle >= 1:
            both = f"{options.wait:g} + {options.settle:g}"
            message = f"method.settle: with method.wait it leaves no steps in between ({both})."
            raise BadInput(message, hint="Keep their sum below 1.")

    def prepare(self, model: PreTrainedModel, options: Options, start: Start) -> PeftModel:
        from peft import AdaLoraConfig

        self.require(model, options)
        config = AdaLoraConfig(
            task_type="CAUSAL_LM",
            init_r=options.first_rank,
            target_r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=options.dropout,
            deltaT=options.every,
            orth_reg_weight=options.orthogonality,
            total_step=UNKNOWN_STEPS,
            target_modules=listed(options.target_modules),
            modules_to_save=list(options.modules_to_save) or None,
        )
        wrapped = wrap(model, config)
        hold_counters(wrapped)
        return wrapped

    def callbacks(self, options: Options) -> list[TrainerCallback]:
        """Plan the ranks once the number of steps is known, and reallocate them after each step."""
        from transformers import TrainerCallback

        class Allocator(TrainerCallback):  # type: ignore[misc]  # the library is untyped
            def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                plan(kwargs["model"], options, state.max_steps)

            def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                pull(kwargs["model"], options.orthogonality)

            def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                # gradients still exist; the step just taken is counted only after this
                allocate(kwargs["model"], state.global_step + 1)

            def keep(self, model: Any) -> dict[str, Any]:
                return kept(model)

            def put_back(self, model: Any, tree: dict[str, Any]) -> None:
                put_back(model, tree)

        return [Allocator()]


def hold_counters(model: PeftModel) -> None:
    """Exclude the rank counts, which divide each update, from training.

    PEFT never trains nor saves them, but makes them trainable when it converts a 16-bit adapter to float32.
    """
    for name, weight in model.named_parameters():
        if ".ranknum." in name:
            weight.requires_grad_(False)


SUMS = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # PEFT's running importance of each weight


def kept(model: Any) -> dict[str, Any]:
    """Return the state of the rank allocation, for a checkpoint to resume from."""
    allocator = model.base_model.rankallocator
    sums = {name: getattr(allocator, name) for name in SUMS}
    return {**sums, "ranks": model.peft_config[NAME].rank_pattern}


def put_back(model: Any, tree: dict[str, Any]) -> None:
    """Restore the state of the rank allocation."""
    allocator, config = model.base_model.rankallocator, model.peft_config[NAME]
    for name in SUMS:
        sums = {key: tensor.to(model.device) for key, tensor in tree[name].items()}
        setattr(allocator, name, sums)
    config.rank_pattern = tree["ranks"]


def plan(model: Any, options: Options, steps: int) -> None:
    """Set the steps in which PEFT prunes ranks: at least one, and none in the last `settle` of the run."""
    config = model.peft_config[NAME]
    settle = min(round(options.settle * steps), steps - 1)
    config.total_step = steps
    config.tfinal = settle
    config.tinit = min(round(options.wait * steps), max(0, steps - settle - 1))


def allocate(model: Any, step: int) -> None:
    """Update the importance of each weight, and prune ranks when that is due.

    PEFT does not update the importance in the step that prunes the last ranks, and fails if that is the first step.
    """
    inner, config = model.base_model, model.peft_config[NAME]
    if step == 1 and config.total_step - config.tfinal == 1:
        inner.rankallocator.update_ipt(inner.model)
    inner.update_and_allocate(step)


def pull(model: Any, weight: float) -> None:
    """Add the gradient of `weight` x the mean over all matrices of |P P^T - 1| (the paper's eq. 4).

    PEFT adds this to the loss that a model computes itself; the trainer computes the loss from the log-probabilities.
    """
    import torch

    if not weight:
        return
    named = [
        (name, weight) for name, weight in model.named_parameters() if "lora_A" in name or "lora_B" in name
    ]
    matrices = [(name, matrix) for name, matrix in named if matrix.requires_grad and matrix.numel()]
    with torch.enable_grad():
        for name, matrix in matrices:
            rows = matrix if "lora_A" in name else matrix.T
            gap = rows @ rows.T - torch.eye(rows.shape[0], dtype=rows.dtype, device=rows.device)
            (gradient,) = torch.autograd.grad(gap.norm() * (weight / len(matrices)), matrix)
            matrix.grad = gradient if matrix.grad is None else matrix.grad + gradient


PLUGIN = AdaLora()
