"""Weights sharded over the ranks (FSDP2): dividing, gathering, reading and filling them.

Checkpoints have whole tensors, as one process writes them: any number of ranks can read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from finetop.core.models import collectives, quantize

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ROOM = 1.2  # times the whole weights, must be free to gather them


def divide(model: Any, device: str, dtype: torch.dtype) -> Any:
    """Shard a model's weights over the ranks, layer by layer; trained weights are kept in float32.

    Products are computed in `dtype`, gradients added up in float32, as in accelerate's FSDP2. Each layer moves to the
    device and becomes float32 when it is sharded: neither the GPU nor the machine's memory ever holds the whole in
    float32. Ranks without weights receive those of the first. The base of an adapter keeps its number format.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import DTensor

    from finetop.core.models import sent_weights

    mesh = init_device_mesh(device.split(":")[0], (collectives.count(),))
    quantize.view_as_numbers(model, dtype, device)
    sender = sent_weights.Sender(model) if sent_weights.is_wanted(model) else None
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    # A base also generates answers without the adapter around it.
    root = model.get_base_model() if is_adapter(model) else model
    for part in (*layers_of(model), *embedding_of(model), root):
        if sender is not None:
            sender.send(part, device)
        for weight in part.parameters() if dtype != torch.float32 else ():
            if not isinstance(weight, DTensor) and (weight.requires_grad or not is_adapter(model)):
                weight.data = weight.data.to(device).float()
        fully_shard(part, mesh=mesh, mp_policy=policy)
    # Transformers' Trainer checks these: it then wraps nothing, and generation continues until all ranks are done.
    root._is_distributed_loading_by_transformers = True  # noqa: SLF001  # transformers reads it
    root._is_fsdp_managed_module = model._is_fsdp_managed_module = True  # noqa: SLF001  # transformers reads it
    model.saved_dtype = dtype
    return model


def is_adapter(model: Any) -> bool:
    """Return whether a model is an adapter on a frozen base."""
    return hasattr(model, "peft_config")


def layers_of(model: Any) -> list[Any]:
    """Return a model's layers, which are gathered one at a time."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def embedding_of(model: Any) -> list[Any]:
    """Return a model's embedding, unused after its first layer; empty if the head shares its matrix."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = head is not None and head.weight is embedding.weight
    return [] if is_tied else [embedding]


def is_divided(model: Any) -> bool:
    return bool(getattr(model, "_is_fsdp_managed_module", False))


def local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor, sharing its memory; the tensor itself if it is whole."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(whole: Tensor, divided: Tensor) -> Tensor:
    """Shard a whole tensor like another, without communication: each rank has all of it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(divided, DTensor) or isinstance(whole, DTensor):
        return whole
    whole = whole.to(local(divided).device)
    return distribute_tensor(whole, divided.device_mesh, divided.placements, src_data_rank=None)


def whole(tree: Any) -> Any:
    """Gather a tree's sharded tensors on rank 0's CPU, one at a time; other ranks take part and get None."""
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
    """Return a sharded model's weights (an adapter's trained ones) on rank 0, rounded to its format unless told not."""
    if is_adapter(model):
        moving = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        return {name: tensor for name, tensor in whole(moving).items() if tensor is not None}
    state: dict[str, Tensor] = {}
    names: dict[int, str] = {}  # first name of tensors that are used twice: a tied head
    for name, tensor in model.state_dict().items():
        first = names.setdefault(local(tensor).data_ptr(), name)
        gathered = state.get(first) if first != name else whole(tensor)
        if gathered is not None:
            rounds = rounded and gathered.is_floating_point()
            state[name] = gathered.to(saved_dtype(model)) if rounds else gathered
    return state


def saved_dtype(model: Any) -> torch.dtype:
    """Return the number format of a sharded model's checkpoints, in which it also computes."""
    dtype: torch.dtype = model.saved_dtype
    return dtype


def is_rounded(model: Any) -> bool:
    """Return whether a sharded model's weights are kept more precisely than in its checkpoints."""
    import torch

    return is_divided(model) and not is_adapter(model) and saved_dtype(model) != torch.float32


def fill(held: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy whole tensors over those of the same names, sharded or not."""
    import torch

    with torch.no_grad():
        for name, tensor in tensors.items():
            held[name].copy_(like(tensor, held[name]))


@contextmanager
def put_together(model: Any) -> Iterator[bool]:
    """Gather a sharded model's weights on every rank for the block, if they fit; yields whether they do.

    If so, one rank's forward pass needs no other, and each can read a share. Otherwise all ranks must do the same
    passes.
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
