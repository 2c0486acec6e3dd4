"""CorDA begins where PEFT's own preparation does, and holds only one layer's factors at a time."""

import pytest
import torch
from method_bench import GENERAL
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda, target_modules

from finetop.core.train import methods
from finetop.core.train.methods import corda
from finetop.core.train.methods._adapter import lora_config


@pytest.mark.parametrize(("keep", "named"), [("knowledge", "kpm"), ("nothing", "ipm")])
def test_it_begins_where_peft_does(bench, keep, named):
    options = methods.load("corda").options(rank=4, keep=keep)
    found = []
    for begin in (
        lambda model, config: corda.begin(model, config, GENERAL),
        lambda model, config: preprocess_corda(model, config, run_model=lambda: corda.run(model, GENERAL)),
    ):
        model = bench.load()
        own = {"target_modules": ["q_proj", "down_proj"], "corda_config": CordaConfig(corda_method=named)}
        config = lora_config(options, init_lora_weights="corda", **own)
        begin(model, config)
        layers = dict(target_modules(model, config))
        assert not any(hasattr(layer, "covariance_matrix") for layer in layers.values())
        found.append({name: layer.eigens for name, layer in layers.items()})
    ours, theirs = found
    assert ours.keys() == theirs.keys() and len(ours) == 4
    for name, eigens in ours.items():
        for part in ("S_WC", "U_WC", "V_WC"):
            assert torch.equal(getattr(eigens, part), getattr(theirs[name], part)), (name, part)
