"""Which attention a model trains with; what is not installed is one line that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import attention, devices, kernels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("installed", "device", "packs", "kernel"),
    [
        ({"flash_attn", "triton"}, "cuda:0", True, "flash_attention_2"),
        ({"triton"}, "cuda:0", True, "flex_attention"),
        (set(), "cuda:0", True, "sdpa"),
        ({"flash_attn", "triton"}, "cuda:0", False, "sdpa"),
        ({"flash_attn", "triton"}, "cpu", True, "sdpa"),
    ],
)
def test_auto_takes_the_best_that_is_installed(
    installed: set[str], device: str, packs: bool, kernel: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(attention, "_has", installed.__contains__)
    assert attention.kernel_for("auto", device, packs=packs) == kernel
    is_told = packs and device != "cpu" and kernel != "flash_attention_2"
    assert ("flash-attn is not installed" in capsys.readouterr().out) == is_told


def test_a_card_without_bfloat16_gets_no_flash_attention(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(attention, "_has", lambda _: True)
    monkeypatch.setattr(devices, "has_bfloat16", lambda _: False)
    assert attention.kernel_for("auto", "cuda:0", packs=True) == "flex_attention"
    assert "flash-attn does not run on this card" in capsys.readouterr().out


def test_what_is_not_there_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_has", lambda _: False)
    with pytest.raises(EnvironmentTrouble, match="flex needs a GPU, and this runs on cpu"):
        attention.kernel_for("flex", "cpu", packs=True)
    with pytest.raises(EnvironmentTrouble, match="needs flash-attn, which is not installed"):
        attention.kernel_for("flash_attention_2", "cuda:0", packs=False)
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentTrouble, match="liger needs liger-kernel, which is not installed"):
        kernels.fuse(None, "liger")


def test_a_check_computes_attention_as_that_of_a_checkpoint(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    attention.use(model, "eager", "cpu", packs=False)
    assert attention.kernel_of(model) == "eager"
    with attention.for_scoring(model):
        assert attention.kernel_of(model) == "eager"  # it takes our masks too
    model.set_attn_implementation("flex_attention")
    with attention.for_scoring(model):
        assert attention.kernel_of(model) == "sdpa"
    assert attention.kernel_of(model) == "flex_attention"
