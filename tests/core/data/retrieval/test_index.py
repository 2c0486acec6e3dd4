"""The index: what is found, what is kept, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from waiting import TORCH_LIMIT_S

from finetop.core.data import retrieval
from finetop.core.errors import BadInput
from finetop.core.runtime.home import Home

TEXTS = {
    "dome.md": "# Dome\n\nTwo doors and a green roof.",
    "arch.md": "# Arch\n\nOne door. The roof is red.\n",
}


@pytest.fixture
def manuals(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def settings(*named: Path) -> retrieval.Settings:
    return retrieval.Settings(documents=tuple(str(path) for path in named))


def test_it_finds_a_text_in_two_places_once_and_says_each_time_what_is_passed_over(manuals, home):
    index = retrieval.build(settings(manuals), home)
    hits = index.search("Which roof is RED?", 5)
    assert [hit.chunk.place for hit in hits] == ["manuals/arch.md:3", "manuals/dome.md:3"]
    assert hits[0].score > hits[1].score > 0
    assert hits[0].chunk.text == "Arch\nOne door. The roof is red."
    assert len(index.search("roof", 1)) == 1
    assert [index.search(query, 3) for query in ("", " ", "the", "volcano", "?!")] == [[]] * 5
    (manuals / "copy.md").write_text(TEXTS["arch.md"])
    assert len(retrieval.build(settings(manuals), home).search("red", 5)) == 1
    (manuals / "empty.txt").touch()
    for _ in range(2):
        assert retrieval.build(settings(manuals), home).passed_over == ("manuals/empty.txt: is empty.",)


def test_it_is_kept_until_a_document_or_a_setting_changes(manuals: Path, home: Home) -> None:
    first = retrieval.build(settings(manuals), home)
    again = retrieval.build(settings(manuals), home)
    assert (first.was_kept, again.was_kept) == (False, True)
    assert (again.key, again.seconds, again.chunks) == (first.key, first.seconds, first.chunks)
    assert again.search("red roof", 2) == first.search("red roof", 2)
    assert retrieval.build(replace(settings(manuals), chunk_words=40), home).key != first.key
    (manuals / "arch.md").write_text("# Arch\n\nThe roof is blue.\n")
    changed = retrieval.build(settings(manuals), home)
    assert not changed.was_kept
    assert changed.search("blue", 1)[0].chunk.text == "Arch\nThe roof is blue."


@pytest.mark.parametrize("damage", ["index.json", "data.csc.index.npy", "vocab.index.json"])
def test_a_damaged_index_is_made_again(manuals: Path, home: Home, damage: str) -> None:
    first = retrieval.build(settings(manuals), home)
    (home.root / "retrieval" / first.key / damage).write_bytes(b"\x93NUMPY{")
    again = retrieval.build(settings(manuals), home)
    assert not again.was_kept
    assert again.search("red roof", 2) == first.search("red roof", 2)
    assert [file.name for file in (home.root / "retrieval").iterdir()] == [first.key]


def test_nothing_to_search_in_is_refused(tmp_path: Path, home: Home) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    with pytest.raises(BadInput, match=r"there are no documents in .*none\.$"):
        retrieval.build(settings(folder), home)
    (folder / "a.txt").touch()
    (folder / "b.txt").touch()
    with pytest.raises(BadInput, match=r"nothing in .*none can be used\. none/a\.txt: is empty\. \(1 more\)"):
        retrieval.build(settings(folder), home)
    assert not (home.root / "retrieval").exists()


ODD = [
    ({"documents": ()}, "documents: no file or folder is named. Name a file or a folder."),
    ({"overlap_words": 150}, "overlap_words is 150, and a chunk has 150 words. It must be less."),
    ({"search": "dense"}, "search: dense needs a model. Give a static model's folder or hub id."),
    ({"search": "dense", "model": "./nowhere"}, "search: no folder ./nowhere."),
    ({"search": "dense", "model": "{}"}, "search: {} is not a static model: it needs model.safetensors and"),
]


@pytest.mark.parametrize(("changes", "message"), ODD)
def test_odd_settings_are_refused(manuals, home, changes, message):
    if changes.get("model"):
        pytest.importorskip("model2vec", reason="the extra `dense` is not installed")
        changes = {**changes, "model": changes["model"].format(manuals)}
    with pytest.raises(BadInput) as caught:
        retrieval.build(replace(settings(manuals), **changes), home)
    assert str(caught.value).startswith(message.format(manuals))


@pytest.fixture
def static_model(tmp_path: Path) -> Path:
    """Write a model of eight words, in which tent is near shelter."""
    model2vec = pytest.importorskip("model2vec", reason="the extra `dense` is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "tent": 1, "shelter": 2, "red": 3, "stove": 4, "cook": 5}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.array([[0, 0], [1, 0.1], [1, 0], [0.5, 0.5], [0.1, 1], [0, 1]], dtype=np.float32)
    model2vec.StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "static")
    return tmp_path / "static"


def test_dense_finds_by_meaning(tmp_path: Path, home: Home, static_model: Path) -> None:
    (tmp_path / "kb.jsonl").write_text('{"text": "a stove"}\n{"text": "a tent"}\n')
    dense = replace(settings(tmp_path / "kb.jsonl"), search="dense", model=str(static_model))
    for was_kept in (False, True):
        index = retrieval.build(dense, home)
        assert index.was_kept == was_kept
        hits = index.search("which shelter", 2)
        assert [hit.chunk.text for hit in hits] == ["a tent", "a stove"]
        assert hits[0].score == pytest.approx(1 / np.sqrt(1.01), abs=1e-5)
        assert index.search("quasar", 2) == []


def test_it_needs_no_torch(manuals: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom finetop.core.data import retrieval\n"
        "from finetop.core.runtime.home import Home\n"
        "assert 'bm25s' not in sys.modules\n"
        "retrieval.build(retrieval.Settings((sys.argv[1],)), Home(Path(sys.argv[2]))).search('red', 1)\n"
        "print(*({'torch', 'transformers', 'duckdb', 'model2vec'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, str(manuals), str(tmp_path / "home")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=TORCH_LIMIT_S)
    assert done.stdout.strip() == ""
