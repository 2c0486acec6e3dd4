"""A GPU machine without a compiler trains without Triton, and says so before the first step."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import torch
from trl.kernels import chunked_logprob
from trl.trainer import utils

from finetop.core.errors import EnvironmentTrouble
from finetop.core.models import kernels
from finetop.core.protocol.events import decode
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import compiler
from finetop.core.runtime.event_log import EventLog
from finetop.core.train import plain_loss, trainer_args

if TYPE_CHECKING:
    from pathlib import Path

CUDA = torch.device("cuda")


@pytest.fixture
def with_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TRL believe that Triton is installed; a kernel of it that is called fails, as it would without a compiler."""

    def build(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(chunked_logprob, "_TRITON_AVAILABLE", True)
    monkeypatch.setattr(utils, "_use_triton", chunked_logprob._use_triton)
    monkeypatch.setattr(utils, "is_triton_available", lambda: True)
    monkeypatch.setattr(utils, "_supports_trl_loss_kernel", lambda *_: True)  # as on a GPU
    monkeypatch.setattr(utils, "_fused_logprob_entropy", build, raising=False)


def taken(device: str, folder: Path) -> list[Any]:
    with closing(EventLog(folder / "events.jsonl")) as events:
        plain_loss.take_if_needed(device, events)
    return [decode(line).e for line in (folder / "events.jsonl").read_bytes().splitlines()]


@pytest.mark.usefixtures("with_triton")
def test_what_can_not_be_built_is_computed_in_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "a C compiler")
    (alarm,) = taken("cuda:0", tmp_path)
    assert (alarm.kind, alarm.step) == ("compiler", 0)
    assert alarm.text.startswith("this machine lacks a C compiler: losses are computed without Triton")
    assert alarm.text in capsys.readouterr().out
    assert not chunked_logprob._use_triton(CUDA)
    assert utils._use_triton(CUDA), "positions without a label are left out, as with Triton"
    logits = torch.tensor([[[0.0, 1.0]]])
    log_probs, entropy = utils.selective_log_softmax_and_entropy(logits, torch.tensor([[1]]))
    assert log_probs.item() == pytest.approx(-0.3132617)
    assert entropy.item() == pytest.approx(0.5822034)


@pytest.mark.usefixtures("with_triton")
def test_a_machine_that_can_build_takes_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for device, lacks in (("cuda:0", ""), ("cpu", "a C compiler")):
        monkeypatch.setattr(compiler, "triton_lacks", lambda lacks=lacks: lacks)
        assert taken(device, tmp_path) == []
        assert chunked_logprob._use_triton(CUDA)
        assert utils.is_triton_available()


def test_what_is_nothing_without_a_compiler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "Python.h of Python 3.12")
    monkeypatch.setattr(kernels, "find_spec", lambda _: True)
    with pytest.raises(
        EnvironmentTrouble, match=r"liger needs Python\.h of Python 3\.12, which this machine"
    ):
        kernels.require("liger", "cuda:0")
    text = "recipe: 1\nname: a\nmethod: {name: lora}\nobjective: {name: sft}\ntrain: {compile: true}\n"
    recipe = resolve_text(text).recipe
    with pytest.raises(EnvironmentTrouble, match=r"train\.compile needs Python\.h") as refused:
        trainer_args.common(recipe, "bfloat16", "cuda:0", tmp_path)
    assert refused.value.hint.endswith("Or set train.compile to false.")
    assert trainer_args.common(recipe, "float32", "cpu", tmp_path)["torch_compile"] is True
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "")
    kernels.require("liger", "cuda:0")
    assert trainer_args.common(recipe, "bfloat16", "cuda:0", tmp_path)["torch_compile"] is True
