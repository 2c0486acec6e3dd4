"""Each family that is written, in several settings: llama.cpp says of the file what transformers says of the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf_models
import gguf_trial
import pytest
from architectures import MODELS

from finetop.core.errors import BadInput
from finetop.core.features.export.gguf_writer import families, tokenizer as tokens, writer
from finetop.core.models.llama_cpp.model import Process

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TRIED: set[str] = set()  # tokenizers whose rule was found by trial, once each


@pytest.mark.slow
@pytest.mark.parametrize("name", gguf_models.MODELS)
def test_a_sound_file_is_not_refused(name: str, llama: Process, tmp_path: Path) -> None:
    kind = gguf_models.MODELS[name][2]
    rule = "default" if kind == "spm" else kind
    trial = gguf_trial.prepare(name, tmp_path, rule if kind in TRIED else "")
    TRIED.add(kind)
    assert trial.source.pre == rule
    assert trial.faults(llama, trial.written(tmp_path / "tiny.gguf")) == []


def test_every_family_is_among_them() -> None:
    import transformers

    assert len(gguf_models.MODELS) >= 20
    tried = set()
    for kind, settings, _ in gguf_models.MODELS.values():
        config: Any = getattr(transformers, kind)(**settings)
        tried.add(transformers.AutoModelForCausalLM._model_mapping[type(config)].__name__)
    written = {name for key in families.KIND.names() for name in families.KIND.load(key).architectures}
    assert written == tried


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe", "mamba", "falcon", "bloom", "opt"])
def test_another_family_is_refused_with_what_to_do_instead(name: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(name, **MODELS[name])
    config.architectures = [f"{name.title()}ForCausalLM"]
    with pytest.raises(BadInput, match=r"is none of gemma2, .*, qwen3") as caught:
        writer.require_writable(config)
    assert "safetensors" in caught.value.hint


@pytest.mark.parametrize(("name", "changes", "says"), [
    ("llama", {"hidden_act": "gelu"}, "activation gelu, where llama.cpp computes silu"),
    ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "scaling dynamic"),
    ("qwen2-yarn", {"rope_parameters": {**gguf_models.YARN, "attention_factor": 2.0}}, "YaRN with attention_factor"),
    ("gemma2", {"query_pre_attn_scalar": 64}, "query_pre_attn_scalar 64, where llama.cpp computes 32"),
    ("gemma2", {"final_logit_softcapping": None}, "without a soft cap"),
    ("gemma3", {"attn_logit_softcapping": 5.0}, "soft cap of attention"),
    ("gemma3-period", {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}, "fixed period"),
    ("gpt2", {"activation_function": "relu"}, "GPT-2 with relu"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "another scale of attention"),
])  # fmt: skip
def test_a_setting_that_llama_cpp_lacks_is_refused(name: str, changes: dict[str, Any], says: str) -> None:
    import transformers

    kind, settings, _ = gguf_models.MODELS[name]
    config: Any = getattr(transformers, kind)(**{**settings, **changes})
    config.architectures = [transformers.AutoModelForCausalLM._model_mapping[type(config)].__name__]
    with pytest.raises(BadInput, match=re.escape(says)):
        writer.require_writable(config)


def test_a_window_that_llama_cpp_ignores_bounds_the_context() -> None:
    from transformers import MistralConfig

    mistral = families.KIND.load("mistral")
    assert mistral.context(MistralConfig(sliding_window=64, max_position_embeddings=512)) == 64
    assert mistral.context(MistralConfig(sliding_window=None, max_position_embeddings=512)) == 512


def test_a_tokenizer_that_llama_cpp_lacks_is_refused() -> None:
    settings: dict[str, Any] = tokens.settings_of(gguf_models.tokenizer_of("smollm"))
    rows = gguf_models.WORDS + 8
    assert tokens.vocabulary_of(settings, rows).tokens[-1] == f"[PAD{rows - 1}]"
    for change, says in (
        ({"model": {**settings["model"], "type": "Unigram"}}, "of the kind Unigram, not BPE"),
        ({"normalizer": {"type": "Lowercase"}}, "changes texts by Lowercase"),
        ({"pre_tokenizer": None, "normalizer": None, "decoder": None}, "neither byte-level merges nor bytes"),
    ):
        with pytest.raises(BadInput, match=says):
            tokens.vocabulary_of({**settings, **change}, rows)
    with pytest.raises(BadInput, match="900 tokens, and the embedding 899 rows"):
        tokens.vocabulary_of(settings, 899)
    twice = [{**settings["added_tokens"][0], "id": 905}]
    with pytest.raises(BadInput, match="two of its tokens have the same text"):
        tokens.vocabulary_of({**settings, "added_tokens": twice}, rows)


def test_a_name_does_not_make_a_phi_3_of_another_model() -> None:
    plain = {"added_tokens": [{"content": "<|end|>", "special": True}]}
    assert tokens.safe_name("my-phi3-test", plain) == "my-phi 3-test"
    eating = {"added_tokens": [{"content": "<|end|>", "special": True, "rstrip": True}]}
    assert tokens.safe_name("mine", eating) == "mine (phi-3)"
    some = {"added_tokens": [*eating["added_tokens"], {"content": "<|x|>", "special": True}]}
    with pytest.raises(BadInput, match="some special tokens"):
        tokens.safe_name("mine", some)
    with pytest.raises(BadInput, match="to its left"):
        tokens.safe_name("mine", {"added_tokens": [{"content": "<|x|>", "special": True, "lstrip": True}]})
