"""Quiet hours: whether a moment is within them, and when they end, by a wall clock that jumps twice a year."""

from __future__ import annotations

from datetime import date, datetime, time as clock_time, timedelta
from typing import TYPE_CHECKING, get_args

from finetop.core.recipe.home_settings import Day

if TYPE_CHECKING:
    from datetime import tzinfo

    from finetop.core.recipe.home_settings import Hours

DAYS: tuple[str, ...] = get_args(Day)  # by datetime's weekday()


def until(quiet: Hours, now: float, zone: tzinfo | None = None) -> float | None:
    """Return the moment at which the quiet hours around `now` end; None if it is not quiet.

    Of adjacent quiet hours it is the end of the last; of an hour that the clock shows twice, the second. A `zone` of
    None is this machine's own.
    """
    end = None
    for _ in range(8):  # quiet hours on all days may never end
        following = _end_around(quiet, now if end is None else end, zone)
        if following is None:
            break
        end = following
    return end


def _end_around(quiet: Hours, now: float, zone: tzinfo | None) -> float | None:
    today = datetime.fromtimestamp(now, zone).date()
    over_midnight = quiet.end <= quiet.start
    ends = [
        max(_moments(day + timedelta(days=over_midnight), quiet.end, zone))
        for day in (today - timedelta(days=1), today)
        if DAYS[day.weekday()] in quiet.days and _moments(day, quiet.start, zone)[0] <= now
    ]
    return max((end for end in ends if now < end), default=None)


def _moments(day: date, at: str, zone: tzinfo | None) -> tuple[float, float]:
    """Return the moments at which a clock shows this time on that day; they differ on two days of the year.

    When the clock is put back, both are real, the earlier first. When it is put forward, neither is: the first then
    counts on from the hour before the gap.
    """
    wall_time = datetime.combine(day, clock_time.fromisoformat(at), zone)
    return wall_time.timestamp(), wall_time.replace(fold=1).timestamp()
