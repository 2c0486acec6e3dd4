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


def test_scores_behind_a_kept_beginning_are_the_same_when_read_anew(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM

    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.prefixes import PrefixMemory, find, room_for
    from finetop.core.check.scoring.scorer import BatchPlan, packs_exactly, plan_for, score

    head = tuple((11 * i + 5) % 300 for i in range(90))
    items = [
        [TokenSequence((*head, *((7 * i + n) % 300 for i in range(12)), c, 8), 102) for c in range(4)]
        for n in range(20)
    ]
    sequences = [sequence for item in items for sequence in item]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).to("cuda:0").eval()
    assert packs_exactly(model)
    plan, memory = plan_for("cuda:0"), PrefixMemory(find(items), room_for("cuda:0"))
    first = score(model, sequences, plan, memory)
    assert memory.held_bytes > 0
    assert score(model, sequences, plan, memory) == first
    assert score(model, sequences, plan, PrefixMemory(find(items), 0)) == first
    plain = score(model, sequences, BatchPlan("plain", 4096))
    apart = [abs(one.log_prob - other.log_prob) for one, other in zip(first, plain, strict=True)]
    assert sum(apart) / len(apart) < 0.25
