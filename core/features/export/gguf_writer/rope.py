"""Rotary positions in GGUF: keys of the head, and factors as tensors. What llama.cpp can't say is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer.refusal import unwritable

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

ORIGINAL = "original_max_position_embeddings"


def settings(config: Any) -> dict[str, Any]:
    """Return a configuration's rotary settings; where layers differ, those of the ones that see everything."""
    every: dict[str, Any] = config.rope_parameters
    own: dict[str, Any] = every.get("full_attention", every)
    return own


def describe(writer: GGUFWriter, config: Any, head: int) -> None:
    """Write base, dimensions and scaling. Raises BadInput."""
    rope = settings(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    if local := config.rope_parameters.get("sliding_attention"):
        writer.add_rope_freq_base_swa(local["rope_theta"])
    _describe_scaling(writer, rope, config)


def _describe_scaling(writer: GGUFWriter, rope: dict[str, Any], config: Any) -> None:
    from gguf import RopeScalingType

    kind = rope.get("rope_type", "default")
    original = rope.get(ORIGINAL) or config.max_position_embeddings
    match kind:
        case "default" | "llama3":  # llama3's factors are a tensor
            return
        case "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        case "yarn":
            for key in ("attention_factor", "mscale", "mscale_all_dim", "truncate"):
                if rope.get(key) is not None:
                    raise unwritable(f"YaRN with {key}")
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(rope["factor"])
            writer.add_rope_scaling_orig_ctx_len(original)
            writer.add_rope_scaling_yarn_beta_fast(rope.get("beta_fast") or 32.0)
            writer.add_rope_scaling_yarn_beta_slow(rope.get("beta_slow") or 1.0)
        case "longrope":
            writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
            scale = rope.get("factor") or config.max_position_embeddings / original
            plain = 1.0 if scale <= 1 else math.sqrt(1 + math.log(scale) / math.log(original))
            writer.add_rope_scaling_attn_factors(rope.get("attention_factor") or plain)
        case _:
            raise unwritable(f"rope scaling {kind}")


def short_context(config: Any) -> int:
    """Return how long a text may be that longrope rotates by its short factors; 0 without longrope.

    transformers chooses by the text's length, llama.cpp by the context's: in a longer context, short texts differ.
    """
    every = getattr(config, "rope_parameters", None) or {}
    rope = every.get("full_attention", every)
    return int(rope[ORIGINAL]) if rope.get("rope_type") == "longrope" else 0


def tensors(config: Any, head: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the factors of llama3's and longrope's scaling."""
    import numpy as np

    rope = settings(config)
    if rope.get("rope_type") == "llama3":
        waves = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, head, 2, dtype=np.float64) / head)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = np.clip((rope[ORIGINAL] / waves - low) / (high - low), 0.0, 1.0)
        yield "rope_freqs.weight", (1.0 / ((1.0 - smooth) / rope["factor"] + smooth)).astype(np.float32)
    elif rope.get("rope_type") == "longrope":
        yield "rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32)
        yield "rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32)
