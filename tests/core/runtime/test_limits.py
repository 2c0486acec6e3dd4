"""What runs inside of limits ends at them, and nothing of them is left behind."""

from __future__ import annotations

import resource
import signal

import pytest

from finetop.core.runtime.limits import limited


def test_time_and_memory_are_bounded_and_given_back():
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TimeoutError), limited(0.05, 1 << 30):
        while True:
            pass
    with pytest.raises(MemoryError), limited(5.0, 64 << 20):
        bytearray(256 << 20)
    with limited(0.05, 256 << 20):
        assert len(bytearray(16 << 20)) == 16 << 20
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
