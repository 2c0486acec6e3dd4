"""A GGUF file is checked only against a base of its layers, its width and its tokens."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import gguf_file
import numpy
import pytest
from transformers import AutoTokenizer

from finetop.core.check.scoring.llama_cpp import require_vocabulary
from finetop.core.data import weight_files
from finetop.core.errors import BadInput
from finetop.core.models.imports.compatibility import require_fit
from finetop.core.models.imports.inspect import FolderModel, inspect_folder
from finetop.core.models.imports.job import place
from finetop.core.models.llama_cpp.model import open_model
from finetop.core.runtime.home import Home

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp_py_sync") is None, reason="llama.cpp is not installed: finetop[gguf]"
)


def written(file: Path, words: list[str], width: int) -> Path:
    writer = gguf_file.begin(file, words, ["a b"], "gpt-2", special=[0], width=width, layers=2)
    writer.add_tensor("token_embd.weight", numpy.zeros((len(words), width), "float32"))
    gguf_file.finish(writer)
    return file


def test_a_file_in_parts_is_opened_by_its_first_and_hashed_whole(tmp_path, tiny_model):
    words = [f"w{number}" for number in range(300)]
    folder, checkpoint, home = (
        tmp_path / "out",
        tmp_path / "run/checkpoints/step-000003",
        Home(tmp_path / "home"),
    )
    folder.mkdir()
    writer = gguf_file.begin(folder / "tuned.gguf", words, ["a b"], "gpt-2", special=[0], width=64, layers=2)
    writer.split_max_tensors = 1
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", numpy.zeros((len(words), 64), "float32"))
    gguf_file.finish(writer)
    first, second = sorted(folder.iterdir())
    model = inspect_folder(folder).newest
    assert model.folder == first and require_fit(model, tiny_model) > 0

    place(replace(model, step=3), tmp_path / "run", copy=False)
    with open_model(weight_files.gguf_file(checkpoint), context=0) as opened:
        assert opened.facts.width == 64
    assert weight_files.bytes_of(checkpoint) == first.stat().st_size + second.stat().st_size
    before = weight_files.model_hash(checkpoint, home)
    with second.open("r+b") as part:
        part.seek(-1, 2)
        part.write(b"x")
    assert weight_files.known_hash(checkpoint, home) is None
    assert weight_files.model_hash(checkpoint, home) != before


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
