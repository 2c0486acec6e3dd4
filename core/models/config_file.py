"""A model's config.json, read as untrusted input: a regular file of limited size, with limited values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetop.core.errors import BadInput
from finetop.core.runtime.files import read_given
from finetop.core.text import plain

LARGEST_FILE = 16 << 20  # bytes; a file with a quantizer's list of modules has 1 MB
# The largest models have 126 layers, an inner width of 53,248, 262,400 words and 512 experts (2026).
LARGEST: Mapping[str, int] = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2_000),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 100_000),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 10_000),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "intermediate_size", "ffn_dim", "n_inner"), 1_000_000),
    "vocab_size": 10_000_000,
    "max_position_embeddings": 1_000_000_000,
    "n_positions": 100_000_000,
    "state_size": 100_000,
}  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """Return the object in a config.json. Raises BadInput for anything else, and for sizes that no model has."""
    config = read_object(path)
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key, most in LARGEST.items():
            value = part.get(key)
            if isinstance(value, int | float) and value < (0 if "expert" in key else 1):
                message = f"{plain(str(path))}: {key} is {value}, which is too small for a model."
                raise BadInput(message, hint="Give the config.json of a real model.")
            if isinstance(value, int | float) and value > most:
                hint = "Give the config.json of a real model."
                raise BadInput(f"{plain(str(path))}: {key} is {value:,}; the limit is {most:,}.", hint=hint)
    return config


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises BadInput."""
    shown, hint = plain(str(path)), "Give a model's config.json, or its folder."
    try:
        config = json.loads(read_given(path, LARGEST_FILE))
    except FileNotFoundError as error:
        raise BadInput(f"{shown}: no such file.", hint=hint) from error
    except OSError as error:
        message = f"{shown}: can't be read: {(error.strerror or str(error)).lower()}."
        raise BadInput(message, hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{shown}: can't be read as JSON: {error}.", hint=hint) from error
    if not isinstance(config, dict):
        raise BadInput(f"{shown}: is not a JSON object.", hint=hint)
    return config
