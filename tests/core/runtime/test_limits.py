"""Work inside limits ends at them, and leaves nothing behind."""

import resource
import signal
import time
from pathlib import Path

import pytest

from finetop.core.runtime.limits import limited


def test_time_and_memory_are_bounded_and_given_back():
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)
    timer = signal.setitimer(signal.ITIMER_REAL, 500.0)  # as pytest has it for the test
    with pytest.raises(TimeoutError), limited(0.05, 1 << 30):
        while True:
            pass
    with pytest.raises(MemoryError), limited(5.0, 64 << 20):
        bytearray(256 << 20)
    with limited(5.0, 256 << 20):
        assert len(bytearray(16 << 20)) == 16 << 20
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)) == before
    left, again = signal.setitimer(signal.ITIMER_REAL, *timer)
    assert 100.0 < left < 500.0 and again == 0.0, "the timer of another goes on"
    with limited(5.0):
        pass
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0.0) == (timer[0] > 0.0)


def test_time_counts_in_which_the_kernel_works_for_it():
    """Filling memory and reading files count, though neither is the process's own CPU time."""
    with pytest.raises(TimeoutError), limited(0.05), Path("/dev/zero").open("rb", buffering=0) as zeros:
        while True:
            zeros.read(1 << 20)


def test_who_waits_is_not_ended_for_it():
    with limited(0.05):
        time.sleep(0.3)  # longer than the limit, without work


def test_a_limit_within_another_leaves_it_in_force():
    with pytest.raises(TimeoutError), limited(0.05):
        with limited(60.0):
            pass
        while True:
            pass
