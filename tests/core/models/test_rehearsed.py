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
