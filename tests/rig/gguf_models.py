"""Tiny random models of each family that is written as GGUF, with tokenizers trained on Python's help pages.

Norms and biases are random too: a lost one would go unseen otherwise.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from finetop.core.models import gguf_tokenizer

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
GQA = {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 512}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
HALF = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256,
    "short_factor": [1.0] * 8, "long_factor": [1.0 + i / 4 for i in range(8)],
}  # fmt: skip
GEMMA = {**GQA, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 32}
SCALES = {
    "attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0
}  # fmt: skip
MIXED = ["sliding_attention", "sliding_attention", "full_attention"]
# name: (configuration class, its settings, tokenizer)
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("LlamaConfig", {**GQA, "tie_word_embeddings": False}, "smollm"),
    "llama-tied-bias": ("LlamaConfig", {**GQA, "tie_word_embeddings": True, "attention_bias": True}, "gpt-2"),
    "llama-head": ("LlamaConfig", {**GQA, "head_dim": 32}, "llama-bpe"),
    "llama3-rope": ("LlamaConfig", {**GQA, "rope_parameters": LLAMA3}, "llama-bpe"),
    "llama-linear": ("LlamaConfig", {**GQA, "rope_parameters": LINEAR}, "gpt-2"),
    "llama-spm": ("LlamaConfig", GQA, "spm"),
    "mistral": ("MistralConfig", {**GQA, "sliding_window": None, "head_dim": 16}, "spm"),
    "mistral-window": ("MistralConfig", {**GQA, "sliding_window": 64, "head_dim": 16}, "spm"),
    "qwen2": ("Qwen2Config", {**GQA, "tie_word_embeddings": True}, "qwen2"),
    "qwen2-yarn": ("Qwen2Config", {**GQA, "rope_parameters": YARN}, "qwen2"),
    "qwen3": ("Qwen3Config", {**GQA, "head_dim": 32}, "qwen2"),
    "gemma2": ("Gemma2Config", GEMMA, "spm"),
    "gemma3": ("Gemma3TextConfig", {**GEMMA, "num_hidden_layers": 7}, "spm"),
    "gemma3-period": ("Gemma3TextConfig", {**GEMMA, "layer_types": MIXED}, "spm"),
    "phi3": ("Phi3Config", {**GQA, "sliding_window": None}, "spm"),
    "phi3-long": ("Phi3Config", {**GQA, "rope_parameters": LONG, "original_max_position_embeddings": 256}, "spm"),
    "llama-epsilon": ("LlamaConfig", {**GQA, "rms_norm_eps": 1e-5, "mlp_bias": True}, "smollm"),
    "qwen3-alone": ("Qwen3Config", {**SMALL, "num_key_value_heads": 4, "tie_word_embeddings": False}, "qwen2"),
    "phi3-half": ("Phi3Config", {**GQA, "rope_parameters": HALF, "sliding_window": None}, "llama-bpe"),
    "olmo2": ("Olmo2Config", GQA, "llama-bpe"),
    "smollm3": ("SmolLM3Config", {**GQA, "num_hidden_layers": 5}, "smollm"),
    "granite": ("GraniteConfig", {**GQA, **SCALES}, "spm"),
    "starcoder2": ("Starcoder2Config", {**GQA, "use_bias": True}, "smollm"),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512}, "gpt-2"),
}  # fmt: skip
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPM_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
WORDS = 900


@cache
def help_text() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[key] for key in ("while", "assert", "class", "exceptions", "naming", "strings"))


def byte_level(rule: str) -> Any:
    """Train a byte-level tokenizer that splits texts as llama.cpp's rule of this name does."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers as rules, trainers

    raw = Tokenizer(models.BPE())
    only_bytes = rules.ByteLevel(add_prefix_space=False, use_regex=False)
    with_regex = rules.ByteLevel(add_prefix_space=False)
    digits = {"llama-bpe": "{1,3}", "qwen2": ""}
    if rule in digits:
        regex = Regex(gguf_tokenizer.WORDS % digits[rule])
        raw.pre_tokenizer = rules.Sequence([rules.Split(regex, "isolated"), only_bytes])
    elif rule == "smollm":
        raw.pre_tokenizer = rules.Sequence([rules.Digits(individual_digits=True), with_regex])
    else:
        raw.pre_tokenizer = with_regex
    if rule == "qwen2":
        raw.normalizer = normalizers.NFC()
    raw.decoder = decoders.ByteLevel()
    alphabet = rules.ByteLevel.alphabet()
    settings = {"vocab_size": WORDS, "special_tokens": SPECIAL, "initial_alphabet": alphabet}
    raw.train_from_iterator(help_text().splitlines(), trainers.BpeTrainer(**settings, show_progress=False))
    if rule == "llama-bpe":
        raw = Tokenizer.from_str(raw.to_str().replace('"ignore_merges":false', '"ignore_merges":true'))
    return raw


def sentencepiece_like() -> Any:
    """Train merges with bytes to fall back to, with all merges that a converted tokenizer lists."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    special = ["<unk>", "<s>", "</s>"] + [f"<0x{number:02X}>" for number in range(256)]
    raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    words = [word for line in help_text().splitlines() for word in line.split(" ")]
    trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False)
    raw.train_from_iterator(words, trainer)
    data = json.loads(raw.to_str())
    vocabulary = data["model"]["vocab"]
    order = {"".join(pair): at for at, pair in reversed(list(enumerate(data["model"]["merges"])))}
    data["model"]["merges"] = [
        [piece[:cut], piece[cut:]]
        for piece in sorted(order, key=order.__getitem__)
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    return Tokenizer.from_str(json.dumps(data))


@cache
def tokenizer_of(kind: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    is_spm = kind == "spm"
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    named = named if is_spm else {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    raw = sentencepiece_like() if is_spm else byte_level(kind)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **named)
    tokenizer.chat_template = SPM_TEMPLATE if is_spm else TEMPLATE
    return tokenizer


def build(name: str, folder: Path, **changes: Any) -> Path:
    """Save a model and its tokenizer; some rows of the embedding have no token."""
    import torch
    import transformers

    kind, settings, vocabulary = MODELS[name]
    tokenizer_of(vocabulary).save_pretrained(folder)
    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, kind)(vocab_size=WORDS + 8, **special, **{**settings, **changes})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plus_one = "Gemma" in kind
    with torch.no_grad():
        for key, value in model.named_parameters():
            is_scale = "norm" in key or ".ln_" in key
            around = 1.0 if is_scale and not key.endswith("bias") and not plus_one else 0.0
            value.copy_(around + torch.randn_like(value) * (0.3 if value.ndim == 1 else 0.12))
    model.save_pretrained(folder)
    return folder
