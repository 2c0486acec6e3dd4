"""A GGUF file of a tiny Llama with a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def begin(
    file: Path, words: list[str], merges: list[str], rule: str | None, *, special: list[int],
    width: int = 8, inner: int = 8, heads: int = 1, groups: int = 1, layers: int = 1,
) -> Any:  # fmt: skip
    """Return the writer of a file that has everything but its tensors; the last special token ends a text."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    if rule is not None:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(words)
    writer.add_token_types([3 if at in special else 1 for at in range(len(words))])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(special[-1])
    writer.add_add_bos_token(False)
    return writer


def finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
