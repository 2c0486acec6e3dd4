"""A queued run is on disk before the answer; one that can't be made leaves nothing, and the error names why."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from rig import RECIPE

from finetop.core.errors import EnvironmentTrouble
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.load import resolve_text
from finetop.core.supervisor.rebuild.record import read_record
from finetop.core.supervisor.requests import dispatch, submit


def test_a_run_can_be_rebuilt_from_its_folder_before_the_answer_that_it_is_queued(quiet) -> None:
    loaded = resolve_text(RECIPE)
    made = asyncio.run(dispatch.answer(quiet.supervisor, Submit(loaded.resolved, loaded.text, "fake")))
    (folder,) = quiet.supervisor.home.runs.iterdir()
    assert [job["verb"] for job in read_record(folder, made.run_id).store.jobs] == ["train"]


@pytest.mark.parametrize("file", ["recipe.yaml", "run.json"])
def test_a_full_disk_is_told_with_the_file_that_did_not_fit(quiet, monkeypatch, file) -> None:
    def full(real):
        def write(self: Path, *args: object, **settings: object) -> object:
            if self.name == file:  # as a write does it, which unlike an open names no file
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(self, *args, **settings)

        return write

    for name in ("write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, full(getattr(Path, name)))
    loaded = resolve_text(RECIPE)
    with pytest.raises(
        EnvironmentTrouble, match=rf"^runs/\d+-fake/{file}: no space left on device\. Nothing was"
    ):
        asyncio.run(submit.submit(quiet.supervisor, Submit(loaded.resolved, loaded.text, "fake")))
    assert list(quiet.supervisor.home.runs.iterdir()) == []
