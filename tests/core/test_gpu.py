"""What only a GPU can show: the device is picked, its memory is told, and scores agree with the CPU's."""

import shutil

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no GPU on this machine"),
]


def test_the_gpu_is_picked_and_named():
    from finetop.core import models

    device = models.pick_device()
    assert device == "cuda:0"
    assert models.describe_device(device) != device
    assert models.number_format("bfloat16", None, device) == "bfloat16"


def test_packed_scores_on_the_gpu_are_those_of_the_cpu(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM

    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.scorer import plan_for, score

    sequences = [TokenSequence(tuple((7 * i + 3 * n) % 300 for i in range(24)), 18) for n in range(40)]
    found = []
    for device in ("cpu", "cuda:0"):
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).to(device).eval()
        found.append([one.log_prob for one in score(model, sequences, plan_for(device))])
    assert found[1] == pytest.approx(found[0], abs=1e-3)
