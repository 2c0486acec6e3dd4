"""A GGUF file is checked only against a base of its layers, its width and its tokens."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import gguf_file
import numpy
import pytest
from transformers import AutoTokenizer

from finetop.core.check.scoring.llama_cpp import require_vocabulary
from finetop.core.errors import BadInput
from finetop.core.models.imports.compatibility import require_fit
from finetop.core.models.imports.inspect import FolderModel

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp_py_sync") is None, reason="llama.cpp is not installed: finetop[gguf]"
)


def written(file: Path, words: list[str], width: int) -> Path:
    writer = gguf_file.begin(file, words, ["a b"], "gpt-2", special=[0], width=width, layers=2)
    writer.add_tensor("token_embd.weight", numpy.zeros((len(words), width), "float32"))
    gguf_file.finish(writer)
    return file


def test_a_file_of_another_width_or_other_tokens_is_refused(tmp_path, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    wide = written(tmp_path / "wide.gguf", words, 128)
    with pytest.raises(BadInput, match=r"has hidden_size 128, but the base .* has 64"):
        require_fit(FolderModel(0, wide, "gguf"), tiny_model)

    same = written(tmp_path / "same.gguf", words, 64)
    assert require_fit(FolderModel(0, same, "gguf"), tiny_model) > 0
    require_vocabulary(same, tokenizer)

    at = len(words) - 2
    other = written(tmp_path / "other.gguf", [*words[:at], words[at + 1], words[at]], 64)
    with pytest.raises(BadInput, match=f"token {at} is {words[at + 1]!r}, and {words[at]!r} in the base"):
        require_vocabulary(other, tokenizer)
    short = written(tmp_path / "short.gguf", words[:at], 64)
    with pytest.raises(BadInput, match=f"token {at} is missing"):
        require_vocabulary(short, tokenizer)
