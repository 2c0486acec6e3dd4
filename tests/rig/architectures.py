"""Tiny configurations of the architectures that finetop is tested on, named as transformers names them."""

from __future__ import annotations

from typing import Any

WORDS = {"vocab_size": 400, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
DENSE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **WORDS}
LLAMA = {**DENSE, "intermediate_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 512}
MODELS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 16},
    "gemma2": {**LLAMA, "head_dim": 16},
    "gemma3_text": {**LLAMA, "head_dim": 16},
    "mistral": LLAMA,
    "phi3": LLAMA,
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512, **WORDS},
    "opt": {**DENSE, "ffn_dim": 128, "max_position_embeddings": 512, "word_embed_proj_dim": 64},
    "gpt_neox": {**DENSE, "intermediate_size": 128, "max_position_embeddings": 512},
    "falcon": DENSE,
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, **WORDS},
    "mixtral": {**LLAMA, "num_local_experts": 4},
    "qwen2_moe": {
        **LLAMA, "num_experts": 4, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 64
    },
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, **WORDS},
}  # fmt: skip
ENCODER_DECODER = {"d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 4, "d_kv": 16, **WORDS}
