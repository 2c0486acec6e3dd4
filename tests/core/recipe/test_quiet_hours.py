"""Quiet hours with a fake clock: over midnight, on chosen days, adjacent, and when the clock jumps."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from finetop.core.recipe.home_settings import QuietHours
from finetop.core.recipe.quiet_hours import until
from finetop.core.wording.durations import day_clock

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours("22:00", "07:00")


def at(text, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def ends(quiet, text, fold=0):
    end = until(quiet, at(text, fold), BERLIN)
    return None if end is None else datetime.fromtimestamp(end, BERLIN).isoformat()[:16]


@pytest.mark.parametrize(
    ("moment", "end"),
    [("2026-01-14T21:59:59", None), ("2026-01-14T22:00", "2026-01-15T07:00"),
     ("2026-01-15T00:00", "2026-01-15T07:00"), ("2026-01-15T06:59:59", "2026-01-15T07:00"),
     ("2026-01-15T07:00", None), ("2026-01-15T12:00", None)],
)  # fmt: skip
def test_a_night_goes_on_over_midnight(moment, end):
    assert ends(NIGHT, moment) == end


def test_hours_belong_to_the_day_on_which_they_begin_and_days_end_to_end_are_one():
    office = QuietHours("09:00", "17:30", ("mon", "tue", "wed", "thu", "fri"))
    assert ends(office, "2026-01-16T09:00") == "2026-01-16T17:30", "a Friday"
    assert ends(office, "2026-01-16T17:30") is None
    assert ends(office, "2026-01-17T12:00") is None, "a Saturday"
    friday = QuietHours("22:00", "07:00", ("fri",))
    assert ends(friday, "2026-01-16T23:00") == "2026-01-17T07:00"
    assert ends(friday, "2026-01-17T03:00") == "2026-01-17T07:00", "still Friday's"
    assert ends(friday, "2026-01-16T03:00") is None, "Thursday's night is not quiet"
    weekend = QuietHours("00:00", "00:00", ("sat", "sun"))
    assert ends(weekend, "2026-01-16T23:59") is None
    assert ends(weekend, "2026-01-17T00:00") == "2026-01-19T00:00"
    assert ends(weekend, "2026-01-18T23:59") == "2026-01-19T00:00"
    always = QuietHours("00:00", "00:00")
    assert until(always, at("2026-01-16T12:00"), BERLIN) > at("2026-01-22T00:00")
    saturday = at("2026-01-17T00:00")
    assert day_clock(until(weekend, saturday, BERLIN), saturday, BERLIN) == "Mon 00:00"
    assert day_clock(at("2026-01-17T07:00"), saturday, BERLIN) == "07:00"


def test_the_clock_is_put_forward_and_back():
    # On 2026-03-29 at 02:00 the clock jumps to 03:00: a night of nine hours on the wall takes eight.
    begin, end = at("2026-03-28T22:00"), until(NIGHT, at("2026-03-28T22:00"), BERLIN)
    assert end - begin == 8 * 3600
    gone = QuietHours("01:00", "02:30")  # 02:30 does not exist that night
    assert ends(gone, "2026-03-29T01:30") == "2026-03-29T03:30", "an hour and a half after it began"
    assert ends(gone, "2026-03-29T03:45") is None
    assert ends(QuietHours("02:15", "02:45"), "2026-03-29T12:00") is None
    # On 2026-10-25 at 03:00 the clock goes back to 02:00: hours that end at 02:30 end at the second one.
    begin = at("2026-10-24T22:00")
    assert until(NIGHT, begin, BERLIN) - begin == 10 * 3600
    early = QuietHours("22:00", "02:30")
    assert until(early, begin, BERLIN) - begin == 5.5 * 3600
    assert ends(early, "2026-10-25T02:29", fold=1) == "2026-10-25T02:30"
    assert ends(early, "2026-10-25T02:30", fold=1) is None
    twice = QuietHours("02:15", "02:45")
    assert until(twice, at("2026-10-25T02:50"), BERLIN) == at("2026-10-25T02:45", fold=1), "between its two"


def test_without_a_zone_it_is_this_machine_s_own(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    moment = datetime.fromisoformat("2026-01-15T03:00").replace(tzinfo=ZoneInfo("Asia/Tokyo")).timestamp()
    end = until(NIGHT, moment)
    monkeypatch.undo()
    time.tzset()
    assert end == moment + 4 * 3600
