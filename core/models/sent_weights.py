"""Weights that only the first rank has read: the others build the model without weights (meta) and receive them.

Each part is sent when it is sharded, so that no other rank ever holds more than one of them. Buffers are sent as well:
some are in no file, such as rotary angles. Every byte arrives as the first rank has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from finetop.core.models import collectives

NOWHERE = "meta"  # the device of a tensor without numbers


class Place(NamedTuple):
    """A module's tensor by its place, and its shape and number format on the first rank."""

    module: str
    key: str
    shape: tuple[int, ...]
    dtype: str


def is_wanted(model: Any) -> bool:
    """Return whether any rank lacks the model's weights. All ranks must call it."""
    return bool(collectives.largest([int(any(tensor.is_meta for _, _, tensor in _tensors(model)))])[0])


class Sender:
    """Sends a model's tensors from the first rank to the others, part by part; each of them once."""

    def __init__(self, model: Any) -> None:
        """Compare the models of all ranks. Raises RuntimeError if they have built different ones."""
        self.names = {id(module): name for name, module in model.named_modules()}
        self.sent: set[int] = set()  # modules
        held = Counter(id(tensor) for _, _, tensor in _tensors(model))
        self.tied = {number for number, count in held.items() if count > 1}
        self.replaced: dict[int, Tensor] = {}  # replacements of tied tensors, wherever they are used
        own = self._places(model)
        first = collectives.from_first(lambda: own)
        same = [place[:3] for place in own] == [place[:3] for place in first]  # formats may differ
        if not all(collectives.gathered(same)):
            why = "the ranks built different models of one recipe: their weights can't be shared"
            raise RuntimeError(why)
        self.dtypes = {(place.module, place.key): place.dtype for place in first}

    def _places(self, model: Any) -> list[Place]:
        return [
            Place(self.names[id(module)], key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for module, key, tensor in _tensors(model)
        ]

    def send(self, part: Any, device: str) -> None:
        """Put a part's tensors on the device of every rank. All ranks take part, in the same order."""
        for module in part.modules():
            if id(module) in self.sent:
                continue
            self.sent.add(id(module))
            for held in _holders(module):
                for key, tensor in list(held.items()):
                    if not isinstance(tensor, torch.Tensor) or isinstance(tensor, DTensor):
                        continue
                    sent = self.replaced.get(id(tensor))
                    if sent is None:
                        dtype = getattr(torch, self.dtypes[self.names[id(module)], key])
                        sent = _received(tensor, dtype, device, moves=held is not vars(module))
                    if id(tensor) in self.tied:
                        self.replaced[id(tensor)] = sent
                    held[key] = sent


def _received(tensor: Tensor, dtype: torch.dtype, device: str, *, moves: bool) -> Tensor:
    """Return a tensor with the first rank's values, on the device if it `moves`; that rank keeps its own tensor."""
    is_first = collectives.rank() == 0
    shape = tensor.shape
    data = tensor.data.to(device).contiguous() if is_first else torch.empty(shape, dtype=dtype, device=device)
    if data.numel():
        dist.broadcast(data.view(-1).view(torch.uint8), src=0)  # gloo does not know every number format
    if not moves:  # tensors in plain attributes stay on the CPU
        return tensor if is_first else data.cpu()
    if is_first:
        tensor.data = data
        return tensor
    if not isinstance(tensor, torch.nn.Parameter):
        return data
    parameter = torch.nn.Parameter(data, requires_grad=tensor.requires_grad)
    parameter.__dict__.update(tensor.__dict__)
    return parameter


def _holders(module: Any) -> tuple[dict[str, Any], ...]:
    """Return the dicts in which a module itself keeps tensors: parameters, buffers, plain attributes."""
    return module._parameters, module._buffers, vars(module)  # noqa: SLF001  # torch lists tied ones once


def _tensors(model: Any) -> Iterator[tuple[Any, str, Tensor]]:
    """Yield the tensors of an unsharded model with their modules; tied ones as often as they are used."""
    for module in model.modules():
        for held in _holders(module):
            for key, value in held.items():
                if isinstance(value, torch.Tensor):
                    yield module, key, value
