"""Whether a running job makes progress, in words: for its state, and as the cause of its end."""

from __future__ import annotations

from finetop.core.protocol.runs import Running
from finetop.core.text import clean_line
from finetop.core.wording.durations import long_span


def label(state: Running) -> str:
    """Return what is wrong in capitals: SILENT or HUNG; empty if all is well."""
    return {"": "", "silent": "SILENT"}.get(state.pulse, "HUNG")


def details(state: Running) -> str:
    """Return the words after the state: 'for 4 min', 'no step for 12 min, usual 3 s', 'stopped by a signal …'."""
    if state.pulse == "silent":
        return f"for {long_span(state.silent_s)}"
    if state.pulse == "stopped":
        return f"stopped by a signal, no word for {long_span(state.silent_s)}"
    if state.late:
        who, others, _ = map(clean_line, state.late)
        return f"{who} for {long_span(state.silent_s)}; {others}"
    if state.usual_s is None:
        phase = f" in {clean_line(state.phase)}" if state.phase else ""
        return f"no word for {long_span(state.silent_s)}{phase}"
    return f"no step for {long_span(state.silent_s)}, usual {long_span(state.usual_s)}"


def reasons(state: Running) -> list[str]:
    """Return what is known of the reason, one line each: what its processes use, where they are."""
    return [clean_line(line) for line in (*state.late[2:], state.evidence, *state.frames) if line]
