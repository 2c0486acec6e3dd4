"""Fault 11: twenty supervisors started at once: one gets the home, nineteen report that and exit."""

import pytest
from waiting import times, wait_until

from finetop.core.protocol.messages.session import Hello

AT_ONCE = 20


@pytest.mark.parametrize("rounds", [times(20, 2)])
def test_of_twenty_started_at_once_one_stays_and_the_others_say_why_not(cold_rig, survived, rounds):
    wrong = 0
    for _ in range(rounds):
        cold_rig.home.log.unlink(missing_ok=True)
        started = [cold_rig.start() for _ in range(AT_ONCE)]
        cold_rig.wait_ready()
        wait_until(lambda: sum(process.poll() is None for process in started) == 1, "all but one have gone")  # noqa: B023
        refusals = cold_rig.home.log.read_text().count("another supervisor already runs on this home.")
        left = [process for process in started if process.poll() is None]
        wrong += refusals != AT_ONCE - 1
        wrong += cold_rig.ask(Hello()).pid != left[0].pid
        wrong += {process.poll() for process in started} != {None, 0}
        left[0].kill()  # the next round finds its socket and its lock's file
        left[0].wait()
    survived("11", "twenty supervisors at once", repeats=rounds, wrong=wrong)
