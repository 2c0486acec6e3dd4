"""A Llama of random weights that is large enough to be measured on a GPU."""

from __future__ import annotations

from pathlib import Path


def wide_model(folder: Path, tokenizer_of: Path, hidden: int = 1024, layers: int = 16) -> Path:
    """Save one with another model's tokenizer: 205 million weights by default; more by `hidden` and `layers`."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    target = folder / f"wide-{hidden}x{layers}"
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    tokenizer.save_pretrained(target)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers, num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64,
        max_position_embeddings=2048, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(target)
    return target
