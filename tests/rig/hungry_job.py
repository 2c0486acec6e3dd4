"""A real job's process on a simulated GPU, which allocates memory up to its limit; other runs are fake jobs.

    python hungry_job.py JOB_FOLDER

A run that is `hungry` (set as in fake_job.py) goes through the entry point of every job, core/run_job.py, up to the
GPU. There torch.cuda keeps to its set limit, and fails at it with torch 2.13's error message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import fake_job

from finetop.core.runtime.job_folder import read_spec

TOTAL_GIB = 80.0


def main() -> int:
    about = read_spec(Path(sys.argv[1])).recipe["about"]
    if not about.startswith("{") or not json.loads(about).get("hungry"):
        return fake_job.main()
    import torch

    from finetop.core import run_job
    from finetop.core.models import devices

    allowed = [TOTAL_GIB]

    def hold(share: float, device: str) -> None:
        allowed[0] = share * TOTAL_GIB

    def eat(device: str) -> str:
        at_most = f" {allowed[0]:.2f} GiB allowed;" if allowed[0] < TOTAL_GIB else ""
        raise torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of {TOTAL_GIB:.2f} GiB of"
            f" which 1.00 GiB is free. Including non-PyTorch memory, this process has {allowed[0]:.2f} GiB memory in"
            f" use.{at_most} Of the allocated memory {allowed[0] - 1:.2f} GiB is allocated by PyTorch, and 1.00 MiB is"
            " reserved by PyTorch but unallocated."
        )

    card = SimpleNamespace(total_memory=TOTAL_GIB * 2**30, uuid="0")
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_properties = lambda device: card
    torch.cuda.set_per_process_memory_fraction = hold
    torch.cuda.get_device_name = eat  # the first thing a job asks of its GPU
    devices.import_libraries = lambda *names: None
    return run_job.main()


if __name__ == "__main__":
    sys.exit(main())
