"""Words are returned as they were added, from memory and from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetop.core.data.similarity import spill_file
from finetop.core.data.similarity.word_codes import codes_of
from finetop.core.errors import EnvironmentTrouble


@pytest.mark.parametrize("in_memory", [1 << 20, 64])
def test_texts_come_back(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill_file, "IN_MEMORY", in_memory)
    monkeypatch.setattr(spill_file, "BLOCK", 7)
    texts = [codes_of("a word " * (number % 5)) for number in range(50)]
    kept = spill_file.Store()
    for text in texts:
        kept.add(text.tobytes())
    assert len(kept) == 50
    assert kept[13].tolist() == texts[13].tolist()
    again = [one.tolist() for first, some in kept.blocks() for one in some if first % 7 == 0]
    assert again == [text.tolist() for text in texts]


def test_no_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill_file, "IN_MEMORY", 64)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    kept = spill_file.Store()
    with pytest.raises(EnvironmentTrouble, match="nowhere: No such file") as caught:
        kept.add(codes_of("a word " * 50).tobytes())
    assert "TMPDIR" in str(caught.value.hint)
