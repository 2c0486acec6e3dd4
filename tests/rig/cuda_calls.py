"""A torch that believes it has one CUDA GPU, and records each call that would initialise CUDA, and its caller.

    CUDA_VISIBLE_DEVICES=UUID python cuda_calls.py CARDS

Imports what the waiting process imports (core/train/job.py), and prints the calls made meanwhile as a JSON list.
CARDS is the file of a fake NVML (fake_nvml.py), from which torch and finetop learn of the GPU without CUDA.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fake_nvml import FakeNvml

CALLS: list[str] = []


def counted(name: str, answer: Any) -> Any:
    """Return a function that records its calls."""

    def call(*_: Any, **__: Any) -> Any:
        where = [
            f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}"
            for frame in traceback.extract_stack()[:-1]
            if not frame.filename.startswith("<") and "/torch/" not in frame.filename
        ]
        CALLS.append(f"{name} by {where[-1]}")
        return answer

    return call


def pretend(cards: Path) -> None:
    """Make torch look built for CUDA, on a machine with the first of these cards."""
    from finetop.core.runtime import gpus

    nvml = FakeNvml(cards)
    gpus.load = lambda: nvml  # type: ignore[assignment]
    nvml.nvmlInit()
    uuids = [nvml.nvmlDeviceGetUUID((index, None)) for index in range(nvml.nvmlDeviceGetCount())]
    torch.version.cuda = "13.0"
    torch.backends.cuda.is_built = lambda: True
    torch.cuda._is_compiled = lambda: True
    torch.cuda._raw_device_uuid_nvml = lambda: uuids
    torch.cuda._raw_device_count_nvml = lambda: len(uuids)
    for name, answer in {
        "_cuda_init": None,
        "_cuda_getDeviceCount": 1,
        "_cuda_getDevice": 0,
        "_cuda_getCurrentRawStream": 0,
        "_cuda_isCurrentStreamCapturing": False,
        "_accelerator_getDeviceIndex": 0,
        "_accelerator_getStream": SimpleNamespace(is_capturing=lambda: False),
    }.items():
        setattr(torch._C, name, counted(name, answer))
    torch._C._accelerator_getAccelerator = lambda: torch.device("cuda")  # None in a build for the CPU alone
    torch.cuda._lazy_init = counted("_lazy_init", None)
    torch.cuda.current_device = counted("current_device", 0)
    torch.cuda.get_device_properties = counted("get_device_properties", None)
    torch.cuda.get_device_capability = counted("get_device_capability", (9, 0))
    torch.cuda.is_current_stream_capturing = counted("is_current_stream_capturing", False)
    # the first backward pass starts a thread for each GPU, which initialises CUDA
    torch.Tensor.backward = counted("backward", None)  # type: ignore[method-assign]
    torch.autograd.grad = counted("grad", ())


def main() -> None:
    pretend(Path(sys.argv[1]))
    from finetop.core.train import job

    job.prepare()
    meanwhile = list(CALLS)
    import bitsandbytes.cuda_specs

    specs = bitsandbytes.cuda_specs.get_cuda_specs  # as it is called once the job has its GPU
    specs()
    later = CALLS[len(meanwhile) :]
    print(
        json.dumps(
            {
                "meanwhile": meanwhile,
                "later": later,
                "backend": bitsandbytes.cextension.BNB_BACKEND,
                "ops": "bitsandbytes.backends.cuda.ops" in sys.modules,
                "adamw": "torch._dynamo" in sys.modules,
            }
        )
    )


if __name__ == "__main__":
    main()
