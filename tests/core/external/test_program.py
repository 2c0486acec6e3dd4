"""Finding the program that writes to a folder."""

from pathlib import Path

import pytest

from finetop.core.external import program


def test_a_writer_that_has_ended_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "writer_of", lambda folder: 2**22 + 1)  # beyond the largest process id
    found = program.program_of(str(tmp_path))
    assert (found.pid, found.output) == (0, str(tmp_path.resolve()))
