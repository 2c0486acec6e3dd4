"""Which attention a model trains with, and which is used besides; a missing package is reported in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import attention, devices, engine as engines, kernels, shape
from finetop.core.runtime import compiler
from finetop.core.train import drift_probe
from finetop.core.train.protections import _text

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that pretends that flash-attn is installed or not, and what Triton lacks."""

    def pretend(*, flash: bool = False, lacks: str = "") -> None:
        monkeypatch.setattr(attention, "_has", lambda _: flash)
        monkeypatch.setattr(compiler, "triton_lacks", lambda: lacks)
        monkeypatch.setattr(compiler, "fix", lambda: "apt install gcc.")

    return pretend


@pytest.mark.parametrize(("facts", "device", "packs", "kernel"), [
    ({"flash": True}, "cuda:0", True, "flash_attention_2"),
    ({}, "cuda:0", True, "flex_attention"),
    ({"lacks": "Triton"}, "cuda:0", True, "sdpa"),
    ({"lacks": "a C compiler"}, "cuda:0", True, "sdpa"),
    ({"flash": True}, "cuda:0", False, "sdpa"),
    ({"flash": True}, "cpu", True, "sdpa"),
])  # fmt: skip
def test_auto_takes_the_best_that_is_installed(facts, device, packs, kernel, install, capsys):
    install(**facts)
    assert attention.kernel_for("auto", device, packs=packs) == kernel
    is_told = packs and device != "cpu" and kernel != "flash_attention_2"
    said = capsys.readouterr().out
    assert ("flash-attn is not installed" in said) == is_told
    assert ("an entry for every pair of tokens" in said) == (is_told and kernel == "sdpa")
    assert facts.get("lacks", "") in said


def test_a_card_without_bfloat16_gets_no_flash_attention(install, monkeypatch, capsys):
    install(flash=True)
    monkeypatch.setattr(devices, "has_bfloat16", lambda _: False)
    assert attention.kernel_for("auto", "cuda:0", packs=True) == "flex_attention"
    assert "flash-attn does not run on this card" in capsys.readouterr().out


def test_what_is_not_there_is_refused_in_words(install, monkeypatch):
    install(lacks="a C compiler")
    for wanted, device, says in (
        ("flex", "cpu", "flex needs a GPU, and this runs on cpu"),
        ("flex", "cuda:0", "flex needs a C compiler, which this machine lacks"),
        ("flash_attention_2", "cuda:0", "needs flash-attn, which is not installed"),
    ):
        with pytest.raises(EnvironmentTrouble, match=says):
            attention.kernel_for(wanted, device, packs=wanted == "flex")
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentTrouble, match="liger needs liger-kernel, which is not installed"):
        kernels.require("liger", "cuda:0")


def test_fused_kernels_go_by_where_a_model_trains_not_by_where_it_was_read(monkeypatch):
    """A model to be sharded is read into the machine's memory."""
    fused: list[object] = []
    liger = ModuleType("liger_kernel.transformers")
    liger._apply_liger_kernel_to_instance = lambda model, **_: fused.append(model)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", liger)
    monkeypatch.setattr(kernels, "find_spec", lambda _: "there")
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "")
    model = SimpleNamespace(device=SimpleNamespace(type="cpu"))
    with pytest.raises(EnvironmentTrouble, match="liger needs a GPU, and this runs on cpu"):
        kernels.fuse(model, "liger", "cpu")
    kernels.fuse(model, "liger", "cuda:1")
    assert fused == [model]


LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 32,
}  # fmt: skip


def made(**said: Any) -> Any:
    """Build a model of a config.json."""
    config = {**LLAMA, **said}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))


@pytest.mark.parametrize(("said", "words"), [
    ({}, ""),
    ({"attention_dropout": 0.1}, "this model trains with attention dropout 0.1"),
    ({"num_attention_heads": 8, "num_key_value_heads": 8}, "this model's have 8"),
    ({"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 1}, "is not in this model's code"),
    ({"model_type": "gptj", "n_embd": 64, "n_head": 4, "n_layer": 1, "attn_pdrop": 0.2},
     "attention dropout 0.2"),
])  # fmt: skip
def test_a_model_that_flex_attention_can_not_train_packs_rows_in_sdpa(said, words, install, capsys):
    """Flex attention would fail at the first step: a ValueError for dropout, or for narrow heads."""
    install()
    model = made(**said)
    fault = attention.flex_fault_of(model)
    assert words in fault if words else not fault
    attention.use(model, "auto", "cuda:0", packs=True)
    assert attention.kernel_of(model) == ("sdpa" if words else "flex_attention")
    assert fault in capsys.readouterr().out
    told = shape.read(model)
    assert told is not None and told.flex_fault == fault, "a plan and its job must agree"
    if words:
        with pytest.raises(BadInput, match=r"model\.attention: flex attention"):
            attention.use(model, "flex", "cuda:0", packs=False)


def test_what_looks_at_a_model_computes_attention_as_the_check_of_a_checkpoint(tiny_model):
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    attention.use(model, "eager", "cpu", packs=False)
    assert attention.kernel_of(model) == "eager"
    with attention.beside_training(model):
        assert attention.kernel_of(model) == "eager"  # it takes our masks too
    for looked_at, kernel in ((model, "sdpa"), (made(model_type="gemma2", head_dim=16), "eager")):
        looked_at.set_attn_implementation("flex_attention")
        with attention.beside_training(looked_at):
            assert attention.kernel_of(looked_at) == kernel  # Gemma 2 has no sdpa
        assert attention.kernel_of(looked_at) == "flex_attention"


TEXT = "The shop opens at nine, and closes at six. We mend radios, lamps and clocks in the old mill. " * 20


def drift(model: Any, tokenizer: Any) -> None:
    start = drift_probe.start(model, tokenizer, TEXT, "cpu")
    assert start is not None
    assert drift_probe.measure(model, start)["drift"] == 0.0


def answers(model: Any, tokenizer: Any, engine: Any = "exact") -> None:
    config = GenerationConfig(do_sample=False, max_new_tokens=3, eos_token_id=[-1], pad_token_id=0)
    assert [len(one) for one in engines.write(model, [[1, 8, 9], [1, 7]], config, engine)] == [3, 3]


def surprise(model: Any, tokenizer: Any) -> None:
    class Nobody:
        def write(self, event: Any) -> None:
            pass

    assert len(_text.surprise(model, [[1, 8, 9], [1, 7]], 0, Nobody(), "reading")) == 2  # type: ignore[arg-type]


def paid_answers(model: Any, tokenizer: Any) -> None:
    from finetop.core.train.trainers import groups

    class Theirs:
        def _generate_single_turn(self, prompt_ids: Any, num_generations: int = 1) -> Any:
            return model(input_ids=tokenizer("hello", return_tensors="pt").input_ids)

    trainer = groups._over_ids(Theirs, SimpleNamespace(engine="exact"))()  # type: ignore[arg-type]
    trainer.use_vllm, trainer.model_wrapped = False, model
    trainer.accelerator = SimpleNamespace(unwrap_model=lambda wrapped: wrapped)
    trainer._generate_single_turn([[1]])


@pytest.mark.parametrize(
    "look", [drift, answers, partial(answers, engine="continuous"), surprise, paid_answers]
)
def test_nothing_but_training_computes_flex_attention(look, tiny_model):
    """It compiles for minutes, again for other lengths, and takes no masks of ours."""
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model).train()
    model.set_attn_implementation("flex_attention")
    seen = set()
    model.register_forward_pre_hook(lambda *_: seen.add(attention.kernel_of(model)))
    look(model, AutoTokenizer.from_pretrained(tiny_model))
    assert seen == {"sdpa"}
    assert attention.kernel_of(model) == "flex_attention"
    assert model.training


@pytest.mark.gpu(needs="kernels", packages=("triton",))
@pytest.mark.filterwarnings("ignore")  # torch's, about how transformers makes the mask
def test_packed_rows_read_the_same_in_flex_attention_as_in_sdpa_on_a_gpu(tiny_model):
    if lacks := compiler.triton_lacks():
        pytest.skip(f"this machine lacks {lacks}")
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).to("cuda:0").train()
    ids = torch.randint(6, 200, (1, 300), generator=torch.Generator().manual_seed(0)).to("cuda:0")
    places = torch.cat([torch.arange(count) for count in (120, 30, 150)])[None].to("cuda:0")
    found = []
    for kernel in ("sdpa", "flex"):
        attention.use(model, kernel, "cuda:0", packs=True)
        model.zero_grad()
        read = model(input_ids=ids, position_ids=places, labels=ids, use_cache=False)
        read.loss.backward()
        found.append((read.logits.detach(), model.model.layers[0].self_attn.q_proj.weight.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    with attention.beside_training(model):
        assert attention.kernel_of(model) == "sdpa"
