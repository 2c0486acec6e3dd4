"""Which weights move: a file a method, and a table where PEFT's class alone differs (`Method` in core/plugins.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.plugins import METHODS

if TYPE_CHECKING:
    from finetop.core.models.resolved import ResolvedModel


names, load = METHODS.names, METHODS.load


def merges(name: str, options: Any) -> bool:
    """Say if what a method with these options learns can be added into the base's weights. Raises NotFound."""
    method = load(name)
    of_options = getattr(method, "merges", None)
    return bool(of_options(options)) if of_options else method.MERGES


def optimizer(name: str, model: Any, options: Any, arguments: Any) -> Any:
    """Make the method's own optimizer from the trainer's arguments; None where the trainer's will do."""
    hook = getattr(load(name), "optimizer", None)
    return None if hook is None else hook(model, options, arguments)


def callbacks(name: str, options: Any) -> list[Any]:
    """Make the callbacks of transformers that a method needs around its steps."""
    hook = getattr(load(name), "callbacks", None)
    return [] if hook is None else list(hook(options))


def rehearse(name: str, options: Any, base: ResolvedModel) -> None:
    """Look at a base's shape, before its weights are loaded, for options that do not fit it. Raises BadInput.

    The model is built from its config.json without memory for its weights.
    """
    hook = getattr(load(name), "require", None)
    if hook is None:
        return
    import torch
    from transformers import AutoModelForCausalLM

    from finetop.core.models.load import read_config

    try:
        config = read_config(base)
        with torch.device("meta"):
            shape = AutoModelForCausalLM.from_config(config, trust_remote_code=base.trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError):
        return  # loading says better what is wrong with a model
    hook(shape, options)
