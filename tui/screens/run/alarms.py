"""The alarms of a run on its screen: the newest that is not over in a row of its own, all of them on the steps tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line, count
from finetop.tui.line import Line, rule
from finetop.tui.screens.shared.run_status import alarm_words
from finetop.tui.text import cut_end

if TYPE_CHECKING:
    from finetop.core.protocol.runs import AlarmRow, RunDetail

SHOWN = 6  # of the newest; `finetop show` lists more


def open_alarm(detail: RunDetail) -> AlarmRow | None:
    """Return the newest alarm that is not over."""
    return next((alarm for alarm in reversed(detail.alarms) if alarm.over_step is None), None)


def alarm_row(alarm: AlarmRow) -> Line:
    """Say an alarm in a row, with its step where its text does not name it."""
    text = clean_line(alarm.text)
    at = f", step {count(alarm.step)}" if str(alarm.step) not in text else ""
    return ((" ! ", "amber mark"), *alarm_words(text + at))


def alarm_lines(detail: RunDetail, width: int) -> list[Line]:
    """List the newest alarms with their steps, newest first, and whether they are over; a blank row behind them."""
    if not detail.alarms:
        return []
    hidden = detail.alarms_total - min(SHOWN, len(detail.alarms))
    more: Line = ((f"{count(hidden)} earlier: finetop show", "dim"),) if hidden > 0 else ()
    shown = [_listed(alarm, width) for alarm in detail.alarms[: -SHOWN - 1 : -1]]
    return [rule((("alarms", ""),), width, more), *shown, ()]


def _listed(alarm: AlarmRow, width: int) -> Line:
    over = "" if alarm.over_step is None else f"  over since {count(alarm.over_step)}"
    text = cut_end(clean_line(alarm.text), max(10, width - 14 - len(over)))
    if over:
        return ((f"   {count(alarm.step):>9} ", ""), (f" {text}", ""), (over, "dim"))
    return ((" ! ", "amber mark"), (f"{count(alarm.step):>9}  ", ""), *alarm_words(text))
