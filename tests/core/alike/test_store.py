"""Words come back as they were added, from memory and from a file."""

from __future__ import annotations

import pytest

from finetop.core.alike import store
from finetop.core.alike.words import codes_of


@pytest.mark.parametrize("in_memory", [1 << 20, 64])
def test_texts_come_back(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY", in_memory)
    monkeypatch.setattr(store, "BLOCK", 7)
    texts = [codes_of("a word " * (number % 5)) for number in range(50)]
    kept = store.Store()
    for text in texts:
        kept.add(text.tobytes())
    assert len(kept) == 50
    assert kept[13].tolist() == texts[13].tolist()
    again = [one.tolist() for first, some in kept.blocks() for one in some if first % 7 == 0]
    assert again == [text.tolist() for text in texts]
