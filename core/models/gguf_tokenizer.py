"""The tokenizer of a GGUF file, with the rule by which it splits text: transformers knows only some of them.

A GGUF file has the vocabulary and the merges, but only a name for the rule that splits text before them
(`tokenizer.ggml.pre`). The rules here are those of the tokenizer.json from which llama.cpp took each name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.text import plain

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerBase as Tokenizer

KEYS = ("tokenizer.ggml.model", "tokenizer.ggml.pre")
GPT2 = {"gpt-2", "phi-2", "mpt", "olmo", "jais"}
SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}  # after that, like GPT2
LLAMA3 = {"llama3", "llama-v3", "llama-bpe"}  # a word in the vocabulary is one token, whatever the merges
QWEN2 = {"qwen2", "deepseek-r1-qwen"}
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {**dict.fromkeys(LLAMA3, WORDS % "{1,3}"), **dict.fromkeys(QWEN2, WORDS % "")}


def load(file: Path) -> Tokenizer:
    """Load the tokenizer of a GGUF file. Raises BadInput if its rule for splitting text is unknown."""
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import read_gguf_metadata

    facts, _ = read_gguf_metadata(str(file))
    kind, name = (str(facts.get(key, "")) for key in KEYS)
    # AutoTokenizer would first read a configuration, which includes the whole vocabulary: 5 s.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name)
    if kind == "gpt2":  # byte-level merges; other kinds have no such rule
        tokenizer.backend_tokenizer.pre_tokenizer = rule(name)
        tokenizer.backend_tokenizer.model.ignore_merges = name in LLAMA3
    return tokenizer


def rule(name: str) -> PreTokenizer:
    """Return the rule of a name. Raises BadInput for an unknown one, since wrong tokens would go unnoticed."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    byte_level = ByteLevel(add_prefix_space=False)
    if name in GPT2:
        return byte_level
    if name in SINGLE_DIGITS:
        return Sequence([Digits(individual_digits=True), byte_level])
    if name in SPLITS:
        only_bytes = ByteLevel(add_prefix_space=False, use_regex=False)
        return Sequence([Split(Regex(SPLITS[name]), "isolated"), only_bytes])
    known = ", ".join(sorted(GPT2 | SINGLE_DIGITS | SPLITS.keys()))
    hint = f"Use the model's safetensors and tokenizer.json. Known: {known}."
    raise BadInput(f"tokenizer.ggml.pre: {plain(name)} is not a known way to split text.", hint=hint)
