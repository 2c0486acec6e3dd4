"""What a job sets before it computes."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
import torch
from finetop.core.models import devices
from finetop.core.train import train
before = torch.get_float32_matmul_precision()
devices.open_device(None)
in_jobs = torch.get_float32_matmul_precision()
train.use_tensor_cores("cuda:0")
print(before, in_jobs, torch.get_float32_matmul_precision(), *(os.environ.get(name) for name in devices.ROUNDS_TO_TF32))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("nvidia", "left"), [("1", "None"), ("0", "0")])
def test_products_in_float32_are_exact_in_every_job_that_is_no_training(nvidia, left):
    """Vendors' containers set TORCH_ALLOW_TF32_CUBLAS_OVERRIDE: checks, exports and chats would be rounded to TF32."""
    own = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "NVIDIA_TF32_OVERRIDE": nvidia}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["high", "highest", "high", "None", left]
