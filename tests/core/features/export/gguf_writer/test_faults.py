"""Planted faults: each makes a file that llama.cpp loads or not, and the proof finds it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf_trial
import pytest
from gguf_trial import Trial

from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.export.gguf_writer import convert, families, proof, tokenizer as tokens
from finetop.core.models.llama_cpp.model import Process

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Weights = dict[str, Any]
LAYER = "model.layers.{}.{}.weight"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return gguf_trial.prepare("llama", tmp_path_factory.mktemp("faults"), "smollm")


def swapped(one: str, other: str) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        weights[one], weights[other] = weights[other], weights[one]

    return change


def one_row(weights: Weights) -> None:
    weights[LAYER.format(2, "mlp.down_proj")][7] *= -1


def no_head(weights: Weights) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()


def two_rows(weights: Weights) -> None:
    rows = weights["model.embed_tokens.weight"]
    rows[[400, 401]] = rows[[401, 400]]


OF_WEIGHTS: dict[str, Callable[[Weights], None]] = {
    "gate and up swapped": swapped(LAYER.format(1, "mlp.gate_proj"), LAYER.format(1, "mlp.up_proj")),
    "k and v swapped": swapped(LAYER.format(1, "self_attn.k_proj"), LAYER.format(1, "self_attn.v_proj")),
    "norms swapped": swapped(LAYER.format(0, "input_layernorm"), LAYER.format(0, "post_attention_layernorm")),
    "layers swapped": swapped(LAYER.format(0, "mlp.down_proj"), LAYER.format(2, "mlp.down_proj")),
    "one row negated": one_row,
    "another head": no_head,
    "two rows of the embedding swapped": two_rows,
}


def with_weights(trial: Trial, folder: Path, change: Callable[[Weights], None]) -> Path:
    """Return a copy of the model with changed weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(trial.folder, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("fault", OF_WEIGHTS)
def test_wrong_weights_are_seen(fault: str, trial: Trial, llama: Process, tmp_path: Path) -> None:
    folder = with_weights(trial, tmp_path / "faulty", OF_WEIGHTS[fault])
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf", folder=folder))
    says = "2 of 908 rows of its embedding" if "rows" in fault else "log-probabilities are up to"
    assert any(says in words for words in faults), faults


OF_SIZES: dict[str, tuple[dict[str, Any], str]] = {
    "rope base": ({"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}}, "rope.freq_base is 500000"),
    "rope scaling": ({"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}}, ""),
    "epsilon": ({"rms_norm_eps": 1e-5}, "layer_norm_rms_epsilon is 9.9"),  # 1e-6
}  # fmt: skip


@pytest.mark.parametrize("fault", OF_SIZES)
def test_wrong_constants_are_seen(fault: str, trial: Trial, llama: Process, tmp_path: Path) -> None:
    changes, says = OF_SIZES[fault]
    config = type(trial.source.config).from_dict({**trial.source.config.to_dict(), **changes})
    config.architectures = trial.source.config.architectures
    source = replace(trial.source, config=config)
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf", source))
    assert any("log-probabilities are up to" in words for words in faults), faults
    assert any(says in words for words in faults), faults


@pytest.mark.parametrize("fault", ["none", "of q"])
def test_rows_in_another_order_are_seen(
    fault: str, trial: Trial, llama: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paired = families.paired
    wrong = {"none": lambda tensor, heads: tensor, "of q": lambda tensor, heads: paired(tensor, 4)}
    monkeypatch.setattr(families, "paired", wrong[fault])
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf"))
    assert any("log-probabilities are up to" in words for words in faults)


# What the writer leaves out (None) or writes otherwise, by the method that writes it, and what the proof says.
OF_TOKENS: dict[str, tuple[str, Callable[[Any], Any] | None, str]] = {
    "another template": ("add_chat_template", lambda text: text.replace("You help.", ""), "template differs"),
    "no template": ("add_chat_template", None, "template is missing"),
    "end of an answer left out": ("add_eos_token_id", None, "the end of an answer is"),
    "another end": ("add_eos_token_id", lambda _: 0, "the end of an answer is <|endoftext|>, not <|im_end|>"),
    "a text begins otherwise": ("add_add_bos_token", lambda _: True, "get other tokens"),
    "texts of two tokens swapped": (
        "add_token_list", lambda texts: [*texts[:600], texts[601], texts[600], *texts[602:]], "another text"
    ),
    "a merge lost": ("add_token_merges", lambda merges: [*merges[:300], *merges[301:]], "tokenized otherwise"),
    "special tokens as plain text": ("add_token_types", lambda kinds: [1] * len(kinds), "get other tokens"),
}  # fmt: skip


def changed(monkeypatch: pytest.MonkeyPatch, method: str, change: Callable[[Any], Any] | None) -> None:
    import gguf

    write = getattr(gguf.GGUFWriter, method)

    def instead(self: Any, value: Any) -> None:
        if change is not None:
            write(self, change(value))

    monkeypatch.setattr(gguf.GGUFWriter, method, instead)


@pytest.mark.parametrize("fault", OF_TOKENS)
def test_wrong_tokens_are_seen(
    fault: str, trial: Trial, llama: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, change, says = OF_TOKENS[fault]
    changed(monkeypatch, method, change)
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf"))
    assert any(says in words for words in faults), faults


def test_an_end_that_nothing_marks_is_seen(
    trial: Trial, llama: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp knows the text <|im_end|> as an end by itself: without it, no key is left that says so."""
    changed(monkeypatch, "add_eos_token_id", None)
    changed(monkeypatch, "add_token_list", lambda texts: [*texts[:2], "<|fin|>", *texts[3:]])
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf"))
    assert any("<|im_end|> does not end an answer" in words for words in faults)


@pytest.mark.parametrize("rule", ["gpt-2", "llama-bpe", "qwen2"])
def test_another_rule_is_seen(rule: str, trial: Trial, llama: Process, tmp_path: Path) -> None:
    source = trial.source.with_rule(rule)
    faults = trial.faults(llama, trial.written(tmp_path / "fault.gguf", source))
    assert any("texts get other tokens" in words for words in faults)


def test_weights_beyond_float16_are_told(trial: Trial, llama: Process, tmp_path: Path) -> None:
    """q times a million and k by a millionth: the same model, but for the range."""

    def widen(weights: Weights) -> None:
        weights[LAYER.format(0, "self_attn.q_proj")] *= 2.0**20
        weights[LAYER.format(0, "self_attn.k_proj")] *= 2.0**-20

    folder = with_weights(trial, tmp_path / "wide", widen)
    whole = trial.written(tmp_path / "tiny-phi3-7-f32.gguf", folder=folder)
    assert trial.faults(llama, whole) == []
    measured, _ = proof.measure(llama.open(whole, 256, 1), replace(trial.asked, answers=[]))
    proven = convert.Converted(proven=measured)
    with pytest.raises(FinetopError, match=r"f16: .*can't quantize it") as caught:
        convert.add_file(llama, trial.source, whole, "f16", trial.asked, proven)
    assert "bf16" in caught.value.hint


def test_an_unknown_rule_and_a_stale_size_are_refused(trial: Trial, llama: Process, tmp_path: Path) -> None:
    for source in (trial.source.with_rule("nonsense"), replace(trial.source, rows=trial.source.rows + 64)):
        file = trial.written(tmp_path / "fault.gguf", source)
        with pytest.raises(BadInput, match=r"llama\.cpp can't load it"):
            llama.open(file, 64, 1, exact=True)


def test_no_rule_at_all_names_the_nearest(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetop.core.features.export.gguf_writer import token_proof

    monkeypatch.setattr(tokens, "candidates", lambda settings: ["gpt-2", "nonsense"])
    says = r"no rule of llama\.cpp .* \(gpt-2 comes nearest, and differs on \d+ of 52\d"
    with pytest.raises(BadInput, match=says):
        token_proof.find_rule(trial.source, tmp_path / "vocabulary.gguf")
