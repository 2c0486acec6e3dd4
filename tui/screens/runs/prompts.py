"""What the capital keys of the list ask before they act: of one run a key, of several their number, typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.protocol.messages.queue import Kill, Stop
from finetop.core.protocol.messages.trash import Remove, Removed
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Queued, Running
from finetop.core.text import clean_line
from finetop.tui.screens.run.prompts import left_of, short_name
from finetop.tui.text import count, counted, cut_middle, size_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import RunRow
    from finetop.tui.line import Line


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: its key, its word in the footer, and what is asked of the supervisor then."""

    key: str
    label: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question. With `number`, that is typed in place of a key, and the first choice is what is done."""

    words: Line
    choices: tuple[Choice, ...]
    leave: str
    number: int = 0


def stop(rows: Sequence[RunRow]) -> Prompt | str:
    """Ask before runs are stopped; say why where there is nothing to stop."""
    going = _going(rows)
    if len(going) != 1:
        return _several("Stop", "stop", "leave them running", [Stop(row.name) for row in going], rows)
    row = going[0]
    if isinstance(row.state, Queued):
        words: Line = ((f" Take {short_name(row)} out of the queue?", "bold"), (f"  {left_of(row)}", ""))
        return Prompt(words, (Choice("y", "take it out", (Stop(row.name),)),), "leave it there")
    saves = f"It saves step {count(row.step)} first." if row.step else "It has made no step yet."
    words = ((f" Stop {short_name(row)}?", "bold"), (f"  {saves}", ""))
    choices = (
        Choice("y", "stop", (Stop(row.name),)),
        Choice("K", "kill now, saves nothing", (Kill(row.name),)),
    )
    return Prompt(words, choices, "leave it running")


def kill(rows: Sequence[RunRow]) -> Prompt | str:
    """Ask before runs are killed; what only waits is taken out of the queue."""
    going = _going(rows)
    if len(going) != 1:
        return _several("Kill", "kill", "leave them running", [Kill(row.name) for row in going], rows)
    row = going[0]
    if isinstance(row.state, Queued):
        return stop(going)
    words: Line = ((f" Kill {short_name(row)}?", "bold"), ("  Steps since its last checkpoint are lost.", ""))
    choices = (
        Choice("y", "kill", (Kill(row.name),)),
        Choice("S", "stop, saves first", (Stop(row.name),)),
    )
    return Prompt(words, choices, "leave it running")


def trash(going: Sequence[Removed]) -> Prompt:
    """Ask before runs go to the trash; `going` is what the supervisor says would go."""
    size = size_word(sum(one.size_bytes for one in going))
    asks = (Remove([str(one.run_id) for one in going]),)
    if len(going) == 1:
        name = cut_middle(clean_line(going[0].name), 32)
        words: Line = ((f" Move {name} to the trash?", "bold"), (f"  {size}; u brings it back.", ""))
        return Prompt(words, (Choice("y", "to the trash", asks),), "leave it there")
    words = ((f"Move {len(going)} runs to the trash, {size}? Type {len(going)}:", ""),)
    return Prompt(words, (Choice("", "to the trash", asks),), "leave them there", len(going))


def _several(verb: str, label: str, leave: str, asks: Sequence[Ask], rows: Sequence[RunRow]) -> Prompt | str:
    if not asks:
        whose = f"{short_name(rows[0])} has" if len(rows) == 1 else f"all {len(rows)} have"
        return f"{whose} ended: nothing to {label}."
    others = len(rows) - len(asks)
    ended = f" ({counted(others, 'other')} {'has' if others == 1 else 'have'} ended)" if others else ""
    words = f"{verb} {len(asks)} runs{ended}? Type {len(asks)}:"
    return Prompt(((words, ""),), (Choice("", label, tuple(asks)),), leave, len(asks))


def _going(rows: Sequence[RunRow]) -> list[RunRow]:
    return [row for row in rows if isinstance(row.state, Running | Queued)]
