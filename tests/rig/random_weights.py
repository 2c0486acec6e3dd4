"""A model of random weights of any size that costs neither disk nor time: its file is a hole, filled once it is read.

The file of weights is sparse: matrices are zeros that no disk holds, norms are ones. Whoever reads it by transformers
while `filled` holds gets random numbers in their place, made on the device: speed and memory are those of a real model
of that shape, and so are those of its quantized weights.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

STANDARD_DEVIATION = 0.02  # of transformers' own first weights
BLOCK_MAXIMUM = 0.05  # about the largest of 64 such numbers: what a block of nf4 is scaled by


def write(shape: Any, folder: Path) -> None:
    """Write the configuration and the weights in bfloat16 of a Llama of this shape."""
    import torch
    from transformers import LlamaForCausalLM

    shape.architectures = ["LlamaForCausalLM"]
    shape.save_pretrained(folder)
    with torch.device("meta"):
        sizes = {name: tuple(weight.shape) for name, weight in LlamaForCausalLM(shape).state_dict().items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, norms = 0, []
    for name, size in sizes.items():
        begin, end = end, end + 2 * prod(size)
        header[name] = {"dtype": "BF16", "shape": size, "data_offsets": [begin, end]}
        norms += [(begin, size[0])] if len(size) == 1 else []
    head = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        data = file.tell()
        file.truncate(data + end)
        for begin, count in norms:
            file.seek(data + begin)
            file.write(struct.pack("<H", 0x3F80) * count)  # 1.0


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Let transformers give random weights for the model in this folder, whoever asks for it."""
    from transformers import PreTrainedModel

    whole = vars(PreTrainedModel)["from_pretrained"]

    def from_pretrained(cls: type[PreTrainedModel], place: Any, *args: Any, **settings: Any) -> Any:
        loaded = whole.__func__(cls, place, *args, **settings)
        if str(place) == str(folder):
            fill(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = whole  # type: ignore[method-assign]


def fill(model: Any) -> None:
    """Fill all matrices with random numbers; those in 4 bits with random codes of blocks of one scale."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            state = getattr(weight, "quant_state", None)
            if state is not None:
                weight.data.random_()
                if state.nested:
                    state.offset.fill_(BLOCK_MAXIMUM)
                else:
                    state.absmax.fill_(BLOCK_MAXIMUM)
            elif weight.dim() > 1 and weight.is_floating_point():
                weight.normal_(0.0, STANDARD_DEVIATION)
