"""Work on files: errors in words with their place and reason; what passes by itself is retried."""

import errno
import os
from pathlib import Path

import pytest

from finetop.core.runtime.files import PASSING_ERRORS, naming, os_error_words, retry_file_work, write_whole


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_of_a_write_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "events.jsonl"
    with pytest.raises(OSError) as error, naming(file):
        raise full()
    assert os_error_words(error.value, tmp_path) == "runs/events.jsonl: no space left on device"
    assert os_error_words(error.value) == f"{file}: no space left on device"
    with pytest.raises(OSError) as error, naming(tmp_path / "other"):
        (tmp_path / "nowhere").read_text()
    assert os_error_words(error.value, tmp_path) == "nowhere: no such file or directory"  # it names its own
    # without a file or a reason it never says None
    assert os_error_words(full()) == "no space left on device"
    assert os_error_words(OSError()) == "the system refused"


def test_a_small_file_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(handle: int) -> None:
        raise full()

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError) as error:
        write_whole(tmp_path / "app.json", b"{}")
    assert error.value.filename == str(tmp_path / "app.json")
    assert list(tmp_path.iterdir()) == []


def _raise(error):
    raise error


def test_what_passes_is_waited_for():
    refusals = [OSError(number, "refused") for number in PASSING_ERRORS]
    assert retry_file_work(lambda: _raise(refusals.pop()) if refusals else 7) == 7


def test_what_does_not_pass_by_itself_is_raised_at_once():
    for number in (errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.ELOOP):
        refusals = [OSError(number, "refused")]  # a second try would find none
        with pytest.raises(OSError, match="refused"):
            retry_file_work(lambda refusals=refusals: _raise(refusals.pop()))
