"""Weights that are divided over the ranks (FSDP2): made so, looked at, put together, and filled again.

Checkpoints hold whole tensors, as one process writes them: they are read at any number of ranks.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from finetop.core.models import collectives, quantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor

ROOM = 1.2  # of the whole weights, that must be free for them to be put together for a look


def divide(model: Any, device: str, dtype: torch.dtype) -> Any:
    """Divide a model's weights over the ranks, layer by layer; what moves is held in float32.

    Products are computed in `dtype`, gradients added up in float32: as accelerate's FSDP2 does. Each layer goes to the
    device and becomes float32 as it is divided: neither the GPU nor the machine's memory ever holds the whole in
    float32. Ranks that have no numbers yet receive those of the first. The base of an adapter keeps its number format.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import DTensor

    from finetop.core.models import sent_weights

    mesh = init_device_mesh(device.split(":")[0], (collectives.count(),))
    quantize.show_as_numbers(model, dtype, device)
    sender = sent_weights.Sender(model) if sent_weights.is_wanted(model) else None
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    # A base writes answers without the adapter around it.
    root = model.get_base_model() if is_adapter(model) else model
    for part in (*layers_of(model), *embedding_of(model), root):
        if sender is not None:
            sender.send(part, device)
        for weight in part.parameters() if dtype != torch.float32 else ():
            if not isinstance(weight, DTensor) and (weight.requires_grad or not is_adapter(model)):
                weight.data = weight.data.to(device).float()
        fully_shard(part, mesh=mesh, mp_policy=policy)
    # What transformers' Trainer looks for: it wraps nothing then, and generation goes on until all ranks are done.
    root._is_distributed_loading_by_transformers = True  # noqa: SLF001  # transformers reads it
    root._is_fsdp_managed_module = model._is_fsdp_managed_module = True  # noqa: SLF001  # transformers reads it
    model.saved_dtype = dtype
    return model


def is_adapter(model: Any) -> bool:
    """Say if a model is an adapter on a base that stays as it is."""
    return hasattr(model, "peft_config")


def layers_of(model: Any) -> list[Any]:
    """List a model's layers, which are put together one after another."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def embedding_of(model: Any) -> list[Any]:
    """Return a model's embedding, which is of no use behind its first layer; none where the head is the same matrix."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = head is not None and head.weight is embedding.weight
    return [] if is_tied else [embedding]


def is_divided(model: Any) -> bool:
    return bool(getattr(model, "_is_fsdp_managed_module", False))


def local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor, which shares its memory; the tensor itself where it is whole."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(whole: Tensor, divided: Tensor) -> Tensor:
    """Divide a whole tensor as another is; no rank asks another, each has read all of it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(divided, DTensor) or isinstance(whole, DTensor):
        return whole
    whole = whole.to(local(divided).device)
    return distribute_tensor(whole, divided.device_mesh, divided.placements, src_data_rank=None)


def whole(tree: Any) -> Any:
    """Put the divided tensors of a tree of dicts and lists together, on the CPU of rank 0; others get none.

    All ranks take part, one tensor after another, so that no GPU holds more than one of them whole.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(tree, DTensor):
        tensor = tree.full_tensor()
        return tensor.to("cpu") if collectives.rank() == 0 else None
    if isinstance(tree, dict):
        return {key: whole(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(whole(value) for value in tree)
    return tree


def state_of(model: Any, *, rounded: bool = True) -> dict[str, Tensor]:
    """Return a divided model's whole weights by name, on rank 0; rounded to what it computes in, or as held.

    Of an adapter those that move, as they are held.
    """
    if is_adapter(model):
        moving = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        return {name: tensor for name, tensor in whole(moving).items() if tensor is not None}
    state: dict[str, Tensor] = {}
    names: dict[int, str] = {}  # of those that are used twice: a tied head
    for name, tensor in model.state_dict().items():
        first = names.setdefault(local(tensor).data_ptr(), name)
        one = state.get(first) if first != name else whole(tensor)
        if one is not None:
            state[name] = one.to(saved_dtype(model)) if rounded and one.is_floating_point() else one
    return state


def saved_dtype(model: Any) -> torch.dtype:
    """Return the number format of a divided model's checkpoints, in which it computes."""
    dtype: torch.dtype = model.saved_dtype
    return dtype


def is_rounded(model: Any) -> bool:
    """Say if a divided model is held in more digits than its checkpoints have."""
    import torch

    return is_divided(model) and not is_adapter(model) and saved_dtype(model) != torch.float32


def fill(held: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy whole tensors over those of the same names, divided or not."""
    import torch

    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(like(tensor, held[name]))


@contextmanager
def put_together(model: Any) -> Iterator[bool]:
    """Hold a divided model's weights whole on every rank meanwhile, where they fit; yields whether they do.

    Then a forward pass of one rank needs no other, and each looks at a share. Else all ranks must do the same passes.
    """
    if not is_divided(model):
        yield True
        return
    from torch.distributed.fsdp import FSDPModule

    modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    fits = not collectives.largest([int(not _fits(model))])[0]
    if fits:
        for module in modules:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
    try:
        yield fits
    finally:
        for module in modules:
            module.reshard()
            module.set_reshard_after_forward(module is not modules[0], recurse=False)


def _fits(model: Any) -> bool:
    import torch

    weight = next(iter(model.parameters()))
    if not local(weight).is_cuda:
        return True
    free, _ = torch.cuda.mem_get_info()
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return bool(ROOM * size < free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
