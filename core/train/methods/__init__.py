"""Which weights move: a file a method, and a table where PEFT's class alone differs (`Method` in core/plugins.py)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from finetop.core.models.resolved import Moving
from finetop.core.plugins import METHODS
from finetop.core.train.methods import _start

if TYPE_CHECKING:
    from finetop.core.models.resolved import ResolvedModel


names, load = METHODS.names, METHODS.load
LEARNED_TOKENS = ("prompt-tuning", "p-tuning", "prefix-tuning")  # those that put tokens in front of the text


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


def rehearse(name: str, options: Any, base: ResolvedModel) -> Moving:
    """Put a method onto a base's shape, before its weights are loaded: what does not go there is refused.

    The model is built from its config.json without memory for its weights; what a method that looks at the weights
    themselves moves is not known. Raises BadInput.
    """
    import torch

    from finetop.core.models import load as models

    method = load(name)
    with torch.device("meta"):
        model = models.shape_of(base)
        parameters = sum(weight.numel() for weight in model.parameters())
        experts = Counter[str]()
        for path, weight in model.named_parameters():
            if ".experts." in path:
                experts[path.partition(".experts.")[0] + ".experts."] += weight.numel()
        if hasattr(method, "require"):
            method.require(model, options)
        start = _start.Start(
            general=lambda: [[0]], examples=[[0]], pad_token_id=0, quantize=base.quantize, base_path=base.path
        )
        try:
            wrapped = method.prepare(model, options, start)
        except (RuntimeError, OSError):
            return Moving(parameters)  # it looks at numbers, which are not there; or at a tokenizer's files
    moving = {path: weight.numel() for path, weight in wrapped.named_parameters() if weight.requires_grad}
    still = sum(count for module, count in experts.items() if not any(module in path for path in moving))
    return Moving(parameters, sum(moving.values()), still)
