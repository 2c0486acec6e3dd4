"""Frozen layers: they stay bit-identical, with whole weights and with an adapter; all others are trained."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import write_rows

from finetop.core.errors import BadInput


def test_bits_of_frozen_layers_stay(train, tiny_model):
    base = load_file(tiny_model / "model.safetensors")
    run = train({"freeze_layers": {"layers": [0], "embeddings": True}}, train={"weight_decay": 0.1})
    same = {name: torch.equal(weight, base[name]) for name, weight in run.weights().items()}
    assert {name for name in same if same[name]} == {n for n in same if "layers.0." in n or "embed" in n}
    assert "weights are frozen" in run.log


def test_an_adapter_in_a_frozen_layer_stays_though_it_is_switched_off_and_on(train, home):
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(8)]
    pairs = write_rows(home.root.parent / "pairs.jsonl", rows)
    run = train(
        {"freeze_layers": [1]}, method={"name": "lora", "rank": 2}, objective={"name": "dpo"},
        data={"train": [{"path": str(pairs)}]}, train={"max_steps": 2, "grad_accumulation": 1},
    )  # fmt: skip
    moved = {name: bool(weight.any()) for name, weight in run.weights().items() if "lora_B" in name}
    assert moved and all(is_moved == ("layers.0." in name) for name, is_moved in moved.items())


@pytest.mark.parametrize(("layers", "method", "says"), [
    ([2], "full", "protect.freeze_layers: there is no layer 2; the model has 2."),
    ([0, 1], "lora", "protect.freeze_layers: nothing is left to train."),
])  # fmt: skip
def test_what_does_not_fit_is_refused(train, layers, method, says):
    with pytest.raises(BadInput) as caught:
        train({"freeze_layers": layers}, method={"name": method})
    assert caught.value.message == says
