"""The GPU that tests and measurements use: whether there is one, its number format, and a model large enough for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

Format = Literal["bfloat16", "float16"]


@lru_cache(maxsize=1)
def why_none() -> str:
    """Return why torch has no GPU here; empty if it has one. Imports torch."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"torch {torch.__version__} is built without CUDA"
    from finetop.core.runtime import gpus

    seen = gpus.read_once()
    reason = seen.trouble or (f"NVML sees {len(seen.gpus)}" if seen.gpus else "NVML sees none either")
    return f"torch {torch.__version__} sees no GPU ({reason})"


def number_format() -> Format:
    """Return the 16-bit format that the GPU has instructions for: a T4 or V100 has none for bfloat16."""
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def wide_model(folder: Path, tokenizer_of: Path, hidden: int = 1024, layers: int = 16) -> Path:
    """Save a Llama of random weights with another model's tokenizer; by default of 205 million."""
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
