"""What the app knows of the machines whose runs it shows, and the texts on where it is and what it can't reach."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from finetop.core.protocol.messages.session import ChangesAnswer
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording import jobs
from finetop.core.wording.durations import clock
from finetop.tui.text import Line, cut_end, line_width
from finetop.tui.theme import MARKS
from finetop.tui.widgets.bar import share_bar

LOAD = 6  # cells of the GPU bar
REASON = 60  # cells of the reason why a machine can't be reached
NO_COUNTS = ChangesAnswer(0)
_BEFORE_WHY = re.compile(r"ssh: connect to host \S+ port \d+: ")


@dataclass(slots=True)
class Machine:
    """One machine: its home, and the state of the connection to its supervisor."""

    home: Home
    name: str = ""  # its own name, as its supervisor reports it
    device: str = ""  # where jobs run there: "4 GPUs"
    trouble: str = ""  # what its supervisor reports as wrong
    refusal: str = ""  # why it would not start, or can't be followed
    is_lost: bool = False
    lost_at: float = 0.0
    counts: ChangesAnswer = NO_COUNTS  # for the top row
    noticed: int | None = None  # number of the newest notice received; None before the first answer

    @property
    def is_elsewhere(self) -> bool:
        return self.home.link is not None

    @property
    def is_unlinked(self) -> bool:
        """Return whether the link to it is broken, rather than its supervisor."""
        return self.home.link is not None and not self.home.link.is_up


def top_words(machines: Sequence[Machine], width: int) -> Line:
    """Return the top row's text on where the app is, in at most `width` cells; labels only for several machines."""
    if len(machines) == 1:
        return _fitting(_only_machine(machines[0]), width)
    spans: Line = (("on ", "dim"),)
    for number, machine in enumerate(machines):
        comma = ", " if number < len(machines) - 1 else ""
        spans = (*spans, *_state(machine, machine.home.label), (comma, "dim"))
    if line_width(spans) <= width:
        return spans
    lost = sum(machine.is_lost for machine in machines)
    short: Line = ((f"on {len(machines)} machines", "dim"),)
    return _fitting((*short, (f", {lost} lost", "amber")) if lost else short, width)


def load_words(machines: Sequence[Machine], width: int) -> Line:
    """Return the running jobs and GPU use for the top row, as much as `width` cells allow."""
    running = sum((Counter(machine.counts.jobs) for machine in machines), Counter[str]())
    gpus = sum(machine.counts.gpus for machine in machines)
    taken = sum(machine.counts.gpus_taken for machine in machines)
    mark = MARKS["running"]
    number = running.total()
    count: Line = ((f"{mark.mark} {number}", mark.style),) if number else ()
    named: Line = ((f"{mark.mark} ", mark.style), (jobs.counts(running), "")) if number else ()
    word: Line = ((" job" if number == 1 else " jobs", "dim"),) if number else ()
    gap: Line = (("  ", ""),) if number else ()
    bar: Line = (*share_bar(taken / gpus, LOAD, "cyan"), (" ", "")) if gpus else ()
    share: Line = (("GPU ", "dim"), *bar, (f"{taken}/{gpus}", "")) if gpus else ()
    short: Line = (share[0], share[-1]) if gpus else ()
    between = gap if gpus else ()
    for begin, end in ((named, share), (named, short), ((*count, *word), share)):
        line = (*begin, *between, *end)
        if line_width(line) <= width:
            return line
    return _fitting((*count, *between, *short), width)


def _only_machine(machine: Machine) -> Line:
    if not machine.is_elsewhere:
        device = "" if machine.counts.gpus else machine.device  # the bar shows it
        return (("  ".join(filter(None, [machine.name, device])), "dim"),)
    label = machine.home.label
    own = f" ({machine.name})" if machine.name and machine.name != label else ""
    device = f"  {machine.device}" if machine.device and not (machine.is_lost or machine.counts.gpus) else ""
    return (("on ", "dim"), *_state(machine, label), (own + device, "dim"))


def _state(machine: Machine, label: str) -> Line:
    if not machine.is_lost:
        return ((label, "bold" if machine.is_elsewhere else ""),)
    word = "reconnecting" if machine.is_elsewhere else "no supervisor"
    return ((label, "bold"), (f" {word}", "amber"))


def _fitting(spans: Line, width: int) -> Line:
    while spans and line_width(spans) > width:
        spans = spans[:-1]
    return spans


def trouble_words(machines: Sequence[Machine]) -> str:
    """Return what is wrong overall, in one row; empty if nothing is."""
    several = len(machines) > 1
    return "  ".join(filter(None, (_trouble(machine, several=several) for machine in machines)))


def _trouble(machine: Machine, *, several: bool) -> str:
    label = machine.home.label
    if not machine.is_lost:
        message = machine.refusal or machine.trouble
        return f"{label}: {message}" if several and message else message
    since = clock(machine.lost_at)
    if machine.is_unlinked:
        assert machine.home.link is not None
        why = _BEFORE_WHY.sub("", machine.home.link.why_down().removeprefix(f"can't reach {label}: "))
        message = f"NO LINK to {label} since {since}, reconnecting. Numbers are from then."
        return f"{message} {cut_end(clean_line(why), REASON)}".rstrip()
    where = f" on {label}" if several or machine.is_elsewhere else ""
    if machine.refusal:
        return f"NO SUPERVISOR{where} since {since}. {machine.refusal}"
    return f"NO SUPERVISOR{where} since {since}, numbers are from then. Runs keep going."


def restart_words(machines: Sequence[Machine]) -> str:
    """Return what R does while a connection is lost."""
    is_broken = any(machine.is_lost and machine.is_unlinked for machine in machines)
    return "reconnect now" if is_broken else "restart it"
