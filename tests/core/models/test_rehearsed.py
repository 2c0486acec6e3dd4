"""Answers of rehearsals are kept in a home that is made; the oldest go first, and a damaged file is none."""

from __future__ import annotations

from pathlib import Path

from finetop.core.models import rehearsed
from finetop.core.models.resolved import Moving
from finetop.core.runtime.home import Home, prepare


def test_the_newest_answers_are_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    rehearsed.keep(home, "early", Moving(1, 1))
    assert not home.root.exists()  # to plan makes no home
    prepare(home)
    for number in range(rehearsed.MOST + 1):
        rehearsed.keep(home, str(number), Moving(number))
    assert rehearsed.kept(home, "0") is None
    assert rehearsed.kept(home, "1") == Moving(1)
    assert rehearsed.kept(home, str(rehearsed.MOST)) == Moving(rehearsed.MOST)

    (home.models / ".rehearsals.json").write_text("{")
    assert rehearsed.kept(home, "1") is None
    rehearsed.keep(home, "again", Moving(2, 1))
    assert rehearsed.kept(home, "again") == Moving(2, 1)


def test_code_that_counts_otherwise_has_another_hash(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "store").mkdir()
    hashes = []
    for name, text in (("models/shape", "a = 1"), ("store/runs", "b"), ("models/shape", "a = 2")):
        (tmp_path / f"{name}.py").write_text(text)
        rehearsed.code_hash.cache_clear()
        hashes.append(rehearsed.code_hash(tmp_path))
    assert hashes[0] == hashes[1] != hashes[2]
    rehearsed.code_hash.cache_clear()
    named = {file.name for pattern in rehearsed.CODE for file in rehearsed.CORE.glob(pattern)}
    assert {"shape.py", "rehearsal.py", "_table.py", "pretrain.py"} <= named
