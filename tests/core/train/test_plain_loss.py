"""A GPU machine without a compiler trains without Triton, and reports it before the first step."""

import json
from contextlib import closing

import pytest
import torch
from method_bench import base_of
from tiny_run import read_events

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import attention, kernels
from finetop.core.plan import ahead, machine
from finetop.core.plan.estimate import estimate
from finetop.core.plan.machine import Machine
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime import compiler
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.train import plain_loss, rehearsal

chunked_logprob = pytest.importorskip("trl.kernels.chunked_logprob")
utils = pytest.importorskip("trl.trainer.utils")
CUDA = torch.device("cuda")
COMPILED = "recipe: 1\nname: a\nmethod: {name: lora}\nobjective: {name: sft}\ntrain: {compile: true}\n"


@pytest.fixture
def with_triton(monkeypatch):
    """Make TRL believe that Triton is installed; calling one of its kernels fails, as without a compiler."""

    def build(*_, **__):
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(chunked_logprob, "_TRITON_AVAILABLE", True)
    monkeypatch.setattr(utils, "_use_triton", chunked_logprob._use_triton)
    monkeypatch.setattr(utils, "is_triton_available", lambda: True)
    monkeypatch.setattr(utils, "_supports_trl_loss_kernel", lambda *_: True)  # as on a GPU
    monkeypatch.setattr(utils, "_fused_logprob_entropy", build, raising=False)


def taken(device, folder):
    with closing(EventLog(folder / "events.jsonl")) as events:
        plain_loss.take_if_needed(device, events)
    return read_events(folder)


@pytest.mark.usefixtures("with_triton")
def test_what_can_not_be_built_is_computed_in_torch(tmp_path, monkeypatch, capsys):
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
@pytest.mark.parametrize(("device", "lacks", "missing"), [
    ("cuda:0", "", ""),
    ("cpu", "a C compiler", ""),
    ("cuda:0", "a C compiler", "trl"),  # whose losses these are
    ("cuda:0", "a C compiler", "datasets"),
])  # fmt: skip
def test_elsewhere_the_kernels_stay(device, lacks, missing, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "triton_lacks", lambda: lacks)
    monkeypatch.setattr(plain_loss, "find_spec", lambda name: None if name == missing else name)
    assert taken(device, tmp_path) == []
    assert chunked_logprob._use_triton(CUDA)
    assert utils.is_triton_available()


def test_what_is_nothing_without_a_compiler_is_refused(tiny_model, monkeypatch):
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "Python.h of Python 3.12")
    monkeypatch.setattr(kernels, "find_spec", lambda _: True)
    with pytest.raises(
        EnvironmentTrouble, match=r"liger needs Python\.h of Python 3\.12, which this machine"
    ):
        kernels.require("liger", "cuda:0")
    recipe = resolve_text(COMPILED, sets=["model.attention=flex"]).recipe
    config = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    (compiled, why), (attends, other) = ahead.kernel_problems(recipe, config)
    assert (compiled, attends) == ("train.compile", "model.attention")
    assert why.message == "train.compile needs Python.h of Python 3.12, which this machine lacks."
    assert why.hint.endswith("Or set train.compile to false.")
    assert other.message.startswith("model.attention: flex needs Python.h of Python 3.12")
    base = base_of(tiny_model)
    with pytest.raises(EnvironmentTrouble, match=r"train\.compile needs Python\.h"):
        rehearsal.require(recipe, base, "bfloat16", "cuda:0")  # as a job and a plan do
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "")
    kernels.require("liger", "cuda:0")
    assert not list(ahead.kernel_problems(recipe, config))
    ((key, dropped),) = ahead.kernel_problems(recipe, {**config, "attention_dropout": 0.1})
    assert (key, type(dropped)) == ("model.attention", BadInput)
    assert rehearsal.require(recipe, base, "bfloat16", "cuda:0").trainable


def test_a_run_is_refused_before_it_is_queued_where_a_gpu_lacks_its_kernels(
    tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "a C compiler")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 9, encoding="utf-8")
    own = [f"model.id={tiny_model}", f"data.train=[{{path: {tmp_path}/rows.jsonl}}]", "check.general=null"]
    recipe, home = resolve_text(COMPILED, sets=own).recipe, Home(tmp_path / "home")
    for device, wanted in (("gpu", ["train.compile"]), ("cpu", [])):
        here = Machine(device, "some", 8e10, total=8e10)
        monkeypatch.setattr(machine, "read_machine", lambda *_, here=here, **__: here)
        found = ahead.check_before_queue(recipe, ahead.RunChecker(home))
        assert [key for key, _ in found.problems] == wanted


def test_a_plan_says_what_a_gpu_machine_lacks(tiny_model, monkeypatch):
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "a C compiler")
    monkeypatch.setattr(attention, "_has", lambda _: False)
    config = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    recipe = resolve_text(COMPILED, sets=["objective.packing=true", "train.compile=false"]).recipe
    lacking, whole = (
        estimate(recipe, config, Machine("gpu", "some", 8e10, lacks=lacks)).notes
        for lacks in ("a C compiler", "")
    )
    assert compiler.without_triton("a C compiler") in lacking
    assert compiler.without_triton("a C compiler") not in whole
    assert any("flash-attn is not installed, and flex attention needs a C compiler" in one for one in lacking)


@pytest.mark.gpu(needs="kernels")
def test_a_gpu_gives_the_same_loss_with_triton_and_without(tmp_path, monkeypatch):
    tiles, fold = [], chunked_logprob._forward_tile
    monkeypatch.setattr(chunked_logprob, "_forward_tile", lambda *a, **n: tiles.append(1) or fold(*a, **n))
    monkeypatch.setattr(chunked_logprob, "_TRITON_AVAILABLE", not compiler.triton_lacks())
    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)
    monkeypatch.setattr(utils, "is_triton_available", utils.is_triton_available)

    def scored():
        some = torch.Generator("cuda").manual_seed(3)
        hidden = torch.randn(600, 64, generator=some, device="cuda").requires_grad_()
        weight = torch.randn(5000, 64, generator=some, device="cuda")
        targets = torch.randint(0, 5000, (600,), generator=some, device="cuda")
        found = chunked_logprob.ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 1024)[0]
        found.sum().backward()
        assert hidden.grad is not None
        return found, hidden.grad

    if compiler.triton_lacks():
        pytest.skip(f"this machine lacks {compiler.triton_lacks()}")
    with_triton = scored()
    assert not tiles
    monkeypatch.setattr(compiler, "triton_lacks", lambda: "a C compiler")
    assert len(taken("cuda:0", tmp_path)) == 1
    without = scored()
    assert tiles
    for one, other in zip(with_triton, without, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
