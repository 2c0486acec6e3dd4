"""Writes a saved model as one GGUF file in float32, a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetop.core.data.weight_files import weight_files
from finetop.core.features.export.gguf_writer import tokenizer as tokens
from finetop.core.features.export.gguf_writer.families import Family, family_of
from finetop.core.features.export.gguf_writer.refusal import unwritable
from finetop.core.models.safetensors_header import read_header

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase as Tokenizer

EMBEDDING, HEAD = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class Source:
    """A model's folder as it is to be written; `pre` is the rule's name, found by trial."""

    config: Any
    tokenizer: Tokenizer
    stops: list[int]
    rows: int  # of the embedding
    pre: str
    name: str

    @property
    def family(self) -> Family:
        return family_of(self.config)

    def with_rule(self, pre: str) -> Source:
        """Return the same with another rule of splitting texts."""
        return replace(self, pre=pre)


def source_of(folder: Path, config: Any, tokenizer: Tokenizer, name: str, pre: str = "") -> Source:
    """Read what is to be written from a model's folder. Raises BadInput."""
    return Source(config, tokenizer, tokens.stops_of(folder, tokenizer), rows_of(folder), pre, name)


def require_writable(config: Any) -> Family:
    """Check what a configuration says, before anything is loaded. Raises BadInput for what can't be written."""
    from gguf import MODEL_ARCH_NAMES, GGUFWriter

    family = family_of(config)
    assert family.written_as in MODEL_ARCH_NAMES.values()
    family.describe(GGUFWriter(None, family.written_as), config)
    return family


def write(source: Source, folder: Path, target: Path) -> None:
    """Write the folder's weights with all that belongs to them. Raises BadInput, OSError."""
    if getattr(source.config, "quantization_config", None):
        raise unwritable("its weights are quantized")
    with ExitStack() as opened:
        weights = _open(folder, opened)
        placed = plan(weights, source)
        writer = _head(source, target)
        try:
            _add_tensors(writer, weights, placed, source)
        finally:
            writer.close()


def write_vocabulary(source: Source, target: Path) -> None:
    """Write the file without its tensors: what llama.cpp needs to tokenize. Raises BadInput, OSError."""
    writer = _head(source, target)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
    finally:
        writer.close()


def _head(source: Source, target: Path) -> GGUFWriter:
    import gguf

    settings = tokens.settings_of(source.tokenizer)
    writer = gguf.GGUFWriter(target, source.family.written_as)
    writer.add_name(tokens.safe_name(source.name, settings))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(source.rows)
    source.family.describe(writer, source.config)
    vocabulary = tokens.vocabulary_of(settings, source.rows)
    tokens.describe(writer, source.tokenizer, vocabulary, source.stops, source.pre)
    return writer


def embedding_of(source: Source, folder: Path) -> np.ndarray[Any, Any]:
    """Return the rows of a folder's embedding in float32."""
    import torch

    with ExitStack() as opened:
        weights = _open(folder, opened)
        name = plan(weights, source)[EMBEDDING]
        rows: np.ndarray[Any, Any] = weights[name].get_tensor(name).to(torch.float32).numpy()
        return rows


def _open(folder: Path, opened: ExitStack) -> dict[str, Any]:
    """Open all weight files lazily; return each tensor's name with its file."""
    from safetensors import safe_open

    weights: dict[str, Any] = {}
    for path in weight_files(folder):
        file = opened.enter_context(safe_open(path, framework="pt"))
        weights |= dict.fromkeys(file.keys(), file)
    return weights


def plan(names: Iterable[str], source: Source) -> dict[str, str]:
    """Return the transformers name of each tensor by its GGUF name; one without a place is refused."""
    import gguf

    config, family = source.config, source.family
    (arch,) = (key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family.written_as)
    known = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    placed: dict[str, str] = {}
    for name in names:
        if family.left_out and family.left_out.search(name):
            continue
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # llama.cpp takes the embedding where there is no head
        target = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise unwritable(f"llama.cpp's {family.written_as} has no place for {name}")
        placed[target] = name
    if not config.tie_word_embeddings and HEAD not in placed:
        raise unwritable("its head is neither tied to the embedding nor in its files")
    return placed


def rows_of(folder: Path) -> int:
    """Return the number of rows of a model's embedding. Raises BadInput."""
    for file in weight_files(folder):
        for name, shape in read_header(file).items():
            if name.endswith((".embed_tokens.weight", ".wte.weight", ".embed_in.weight")):
                return int(shape.size[0])
    raise unwritable("it has no embedding of a known name")


def _add_tensors(writer: GGUFWriter, weights: dict[str, Any], placed: dict[str, str], source: Source) -> None:
    """Announce all tensors, then stream them: about three copies of the largest are in memory."""
    import torch

    config, family = source.config, source.family
    more = dict(family.more_tensors(config))
    for target, array in more.items():
        writer.add_tensor_info(target, array.shape, array.dtype, array.nbytes)
    for target, name in placed.items():
        shape = list(weights[name].get_slice(name).get_shape())
        if family.transposed and family.transposed.search(name):
            shape.reverse()
        writer.add_tensor_info(target, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for array in more.values():
        writer.write_tensor_data(array)
    for name in placed.values():
        tensor = weights[name].get_tensor(name).to(torch.float32)
        writer.write_tensor_data(family.stored(name, tensor, config).contiguous().numpy())
