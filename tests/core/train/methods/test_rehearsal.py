"""What is refused before weights are loaded is what the real setup would refuse: methods by architectures.

A plan and a job both call `methods.rehearse`; here it is compared with the real thing: a tiny model with weights, the
method applied to it, a backward step.
"""

import architectures
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from finetop.core.errors import BadInput
from finetop.core.models.resolved import ResolvedModel
from finetop.core.train import methods
from finetop.core.train.methods._start import Start

MODELS = {**architectures.MODELS, "t5": architectures.ENCODER_DECODER}
# A sample with successes, each kind of refusal, and methods that begin at the weights.
SAMPLE = [
    ("llama", "lora"), ("t5", "full"), ("mamba", "full"), ("mamba", "lora"), ("gpt2", "olora"),
    ("gpt2", "osf"), ("falcon", "prefix-tuning"), ("mixtral", "pissa"), ("mixtral", "lora"), ("phi3", "ia3"),
    ("llama", "shira"),
]  # fmt: skip
ALL = [(model, method) for model in MODELS for method in methods.names()]


@pytest.mark.filterwarnings("ignore")  # the libraries', about settings that do not matter here
@pytest.mark.parametrize(
    ("model", "method"),
    [pytest.param(*pair, marks=() if pair in SAMPLE else pytest.mark.slow) for pair in ALL],
)
def test_a_rehearsal_says_what_the_setup_does(model, method, tmp_path):
    config = AutoConfig.for_model(model, **MODELS[model])
    config.save_pretrained(tmp_path)
    base = ResolvedModel(model, tmp_path, None, None, "", "")
    try:
        counted = methods.rehearse(method, methods.load(method).options(), base)
    except BadInput:
        with pytest.raises((BadInput, ValueError)):
            set_up(config, method, tmp_path)
        return
    parameters, moving = set_up(config, method, tmp_path)
    assert counted.parameters == parameters
    assert counted.trainable in (None, moving)


def set_up(config, method, folder):
    """Build the model, apply the method, take a backward step. Return the counts of all and of trained parameters."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    parameters = sum(weight.numel() for weight in model.parameters())
    rows = [[1, 2, 3, 4, 5, 6, 7, 8]] * 4
    start = Start(examples=rows, general=lambda: rows, pad_token_id=0, base_path=folder)
    wrapped = methods.load(method).prepare(model, methods.load(method).options(), start)
    ids = torch.tensor([[2, 3, 4, 5, 6, 7]])
    wrapped.train()(input_ids=ids, labels=ids).loss.backward()
    return parameters, sum(weight.numel() for weight in wrapped.parameters() if weight.requires_grad)


@pytest.mark.parametrize(("model", "options", "reaches"), [
    ("mixtral", {}, True),  # PEFT knows its experts' names before they were fused
    ("qwen2_moe", {}, False),
    ("qwen2_moe", {"target_parameters": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")}, True),
])  # fmt: skip
def test_experts_that_nothing_reaches_are_counted(model, options, reaches, tmp_path):
    AutoConfig.for_model(model, **MODELS[model]).save_pretrained(tmp_path)
    base = ResolvedModel(model, tmp_path, None, None, "", "")
    counted = methods.rehearse("lora", methods.load("lora").options(**options), base)
    assert (counted.experts == 0) == reaches
