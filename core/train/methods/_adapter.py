"""Puts a PEFT adapter onto a model, after checking that the modules it names exist and fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, did_you_mean, first_line

if TYPE_CHECKING:
    from peft import LoraConfig, PeftConfig, PeftModel
    from transformers import PreTrainedModel


def wrap(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """Wrap a model with a fresh adapter, trained alone or with a reward model's score layer. Raises BadInput."""
    from peft import PeftModel, get_peft_model

    from finetop.core.models.load import answer_in_kind

    if is_classifier(model):
        config.task_type = "SEQ_CLS"  # PEFT then trains and saves the score whole
        if not hasattr(config, "modules_to_save"):
            message = f"method: {config.peft_type.value} can't train a reward model's score layer too."
            raise BadInput(message, hint="Use lora or full.")

    with warnings.catch_warnings():
        # PEFT 0.21 still uses transformers' old name for activation checkpointing
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", module="peft")
        try:
            wrapped = get_peft_model(model, config)
        except (ValueError, TypeError) as error:
            kind = type(model).__name__
            message = f"method: {config.peft_type.value} does not work on {kind}: {first_line(error)}"
            raise BadInput(message, hint="Change the method's options, or use lora or full.") from error
    assert isinstance(wrapped, PeftModel)  # mixed models are never requested
    if not any(weight.requires_grad for weight in wrapped.parameters()):
        message = f"method: {config.peft_type.value} finds no layer of {type(model).__name__} to train."
        raise BadInput(message, hint="Use lora or full.")
    answer_in_kind(wrapped)
    return wrapped


def is_classifier(model: PreTrainedModel) -> bool:
    """Return whether a model outputs scores for a text, as reward models do."""
    return type(model).__name__.endswith("ForSequenceClassification")


def head_of(model: PreTrainedModel) -> Any:
    """Return the output layer: the language-model head, or a reward model's score."""
    if is_classifier(model):
        return getattr(model, "score", None) or getattr(model, "classifier", None)
    return model.get_output_embeddings()


def require_modules(model: PreTrainedModel, options: Any) -> None:
    """Check that the modules which the options name are in the model, and that no head is adapted. Raises BadInput."""
    targets = getattr(options, "target_modules", ())
    named = () if isinstance(targets, str) else targets
    _require_names(model, named, "method.target_modules")
    _require_names(model, getattr(options, "modules_to_save", ()), "method.modules_to_save")
    head = head_of(model) if named else None
    for path, module in model.named_modules() if named else ():
        name = next((name for name in named if is_named(path, name)), None)
        if module is head and name is not None:
            raise BadInput(
                f"method.target_modules: {name} is the output layer, whose loss is computed without its adapter.",
                hint=f"Put {name} into method.modules_to_save, where it is trained whole, or leave it out.",
            )


def is_named(path: str, name: str) -> bool:
    """Return whether a module's path is this name or ends with it, which is how PEFT matches lists of modules."""
    return path == name or path.endswith(f".{name}")


def _require_names(model: PreTrainedModel, wanted: tuple[str, ...], key: str) -> None:
    paths = [path for path, _ in model.named_modules() if path]
    for name in wanted:
        if not any(is_named(path, name) for path in paths):
            known = {path.rsplit(".", 1)[-1] for path in paths} - {str(n) for n in range(1000)}
            raise BadInput(f"{key}: the model has no module {name!r}.", hint=did_you_mean(name, known))


def require_parameters(model: PreTrainedModel, wanted: tuple[str, ...]) -> None:
    """Check that the model has these fused weights; a linear layer's weight is not one. Raises BadInput."""
    paths = {path: weight.ndim for path, weight in model.named_parameters()}
    for name in wanted:
        if not any(is_named(path, name) and dimensions > 2 for path, dimensions in paths.items()):
            of_layers = [path.partition(".layers.")[2] or path for path, n in paths.items() if n > 2]
            fused = sorted({path.partition(".")[2] for path in of_layers})
            hint = f"It has {', '.join(fused)}." if fused else "It is not a mixture of experts: leave it out."
            raise BadInput(f"method.target_parameters: the model has no fused weight {name!r}.", hint=hint)


def adapted(model: PreTrainedModel, target_modules: str | tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the linear layers that an adapter with these targets applies to: all but the head, or those named."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = head_of(model)
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear | Conv1D) or module is head:
            continue
        if isinstance(target_modules, str) or any(is_named(path, name) for name in target_modules):
            yield path, module


def names_of(model: PreTrainedModel, target_modules: str | tuple[str, ...]) -> list[str]:
    """Expand all-linear to the last parts of module names, as PEFT does."""
    if not isinstance(target_modules, str):
        return list(target_modules)
    return sorted({path.rpartition(".")[2] for path, _ in adapted(model, target_modules)})


def require_divisor(model: PreTrainedModel, size: int, target_modules: str | tuple[str, ...]) -> None:
    """Check that a block size divides the inputs of every adapted layer. Raises BadInput with the sizes that do."""
    inputs = {path.rpartition(".")[2]: widths(module)[0] for path, module in adapted(model, target_modules)}
    wrong = next((name for name, width in inputs.items() if width % size), None)
    if wrong is None:
        return
    whole = math.gcd(*inputs.values())
    divisors = [str(n) for n in range(2, min(whole, 256) + 1) if whole % n == 0]
    message = f"method.block_size: {size} does not divide the {inputs[wrong]} inputs of {wrong}."
    hint = f"Set one of {', '.join(divisors)}." if divisors else "Name fewer target_modules."
    raise BadInput(message, hint=hint)


def require_rank(model: PreTrainedModel, options: Any) -> None:
    """Check that named modules exist and no adapted layer's smaller side is below the rank. Raises BadInput."""
    require_modules(model, options)
    for path, module in adapted(model, options.target_modules):
        width = min(widths(module))
        if width < options.rank:
            name = path.rpartition(".")[2]
            message = f"method.rank: {options.rank} is more than the {width} directions of {name}."
            raise BadInput(message, hint=f"Set {width} or less.")


def widths(module: Any) -> tuple[int, int]:
    """Return a linear layer's number of inputs and outputs, whatever its weight's layout."""
    if hasattr(module, "in_features"):
        return int(module.in_features), int(module.out_features)
    inputs, outputs = module.weight.shape  # GPT-2's Conv1D
    return int(inputs), int(outputs)


def lora_config(options: Any, **more: Any) -> LoraConfig:
    """Build PEFT's configuration from the settings common to all kinds of LoRA; `more` overrides them."""
    from peft import LoraConfig

    settings: dict[str, Any] = {
        "r": options.rank,
        "lora_alpha": options.alpha,  # typed as int, but only ever divided
        "lora_dropout": options.dropout,
        "target_modules": listed(options.target_modules),
        "modules_to_save": list(options.modules_to_save) or None,
    }
    return LoraConfig(task_type="CAUSAL_LM", **{**settings, **more})


def listed(target_modules: str | tuple[str, ...]) -> str | list[str]:
    """Return targets in the form that PEFT expects."""
    return target_modules if isinstance(target_modules, str) else list(target_modules)
