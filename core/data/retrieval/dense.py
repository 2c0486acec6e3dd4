"""Search by meaning: chunk and question as means of static word vectors (model2vec, the extra `dense`).

It finds paraphrases in prose, but fails on lists of facts: with vectors of 256 numbers its recall at 5 is 0.67 on
medquad (BM25: 0.64), and 0.07 on the manuals of kb_contoso (BM25: 0.96).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finetop.core.data import hub
from finetop.core.data.hub import is_local
from finetop.core.errors import BadInput, first_line
from finetop.core.runtime.files import given_path

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Dense(NamedTuple):
    """A model and the vectors of all chunks, each of length 1, or 0 if the model knows none of its words."""

    model: Any  # model2vec.StaticModel
    vectors: Vectors

    def scores(self, query: str) -> Vectors:
        """Return the cosines of all chunks to the query; 0 if the model knows none of a text's words."""
        return np.asarray(self.vectors @ _unit(self.model, [query])[0], dtype=np.float32)


def find(model: str) -> Path:
    """Return the model's folder: a local one, or of the hub, downloaded once. Raises BadInput, EnvironmentTrouble."""
    try:
        import model2vec  # noqa: F401
    except ImportError as error:
        hint = "Install it with pip install 'finetop[dense]', or search by bm25."
        raise BadInput("search: dense needs model2vec, which is not installed.", hint=hint) from error
    if is_local(model):
        folder = given_path(model)
        if not folder.is_dir():
            raise BadInput(f"search: no folder {model}.", hint="Give a static model's folder or hub id.")
    else:
        folder = _of_the_hub(model)
    if not (folder / "model.safetensors").is_file() or not (folder / "tokenizer.json").is_file():
        hint = "Give one that model2vec has made, such as minishlab/potion-retrieval-32M."
        needs = "it needs model.safetensors and tokenizer.json"
        raise BadInput(f"search: {model} is not a static model: {needs}.", hint=hint)
    return folder


def _of_the_hub(model: str) -> Path:
    answer = hub.commit_or_folder(model, None)
    if isinstance(answer, Path):
        return answer
    from huggingface_hub import snapshot_download

    wanted = ["model.safetensors", "*.json", "*.txt"]
    return Path(snapshot_download(model, revision=answer, allow_patterns=wanted))


def build(texts: Sequence[str], folder: Path, model: Path) -> None:
    """Save the vectors of texts in a folder."""
    np.save(folder / "vectors.npy", _unit(_load(model), texts), allow_pickle=False)


def load(folder: Path, model: Path) -> Dense:
    """Load vectors that `build` has saved."""
    return Dense(_load(model), np.load(folder / "vectors.npy", allow_pickle=False))


def _load(model: Path) -> Any:
    from model2vec import StaticModel

    try:
        return StaticModel.from_pretrained(model)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise BadInput(f"search: {model} can't be read as a static model: {first_line(error)}") from error


def _unit(model: Any, texts: Sequence[str]) -> Vectors:
    vectors = np.asarray(model.encode(list(texts), use_multiprocessing=False), dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit
