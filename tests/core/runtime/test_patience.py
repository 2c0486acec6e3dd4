"""A transient error of a file system is retried; a missing file is not waited for."""

import errno

import pytest

from finetop.core.runtime.files import PASSING_ERRORS, retry_file_work


def test_what_passes_is_waited_for():
    refusals = [OSError(number, "refused") for number in PASSING_ERRORS]

    def work():
        if refusals:
            raise refusals.pop()
        return 7

    assert retry_file_work(work) == 7


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.ELOOP])
def test_what_does_not_pass_by_itself_is_raised_at_once(number):
    tries = []

    def work():
        tries.append(1)
        raise OSError(number, "refused")

    with pytest.raises(OSError, match="refused"):
        retry_file_work(work)
    assert len(tries) == 1
