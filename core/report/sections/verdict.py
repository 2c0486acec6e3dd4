"""The verdict at the top of a report: its word, tone and sentence, and how sure it is."""

from __future__ import annotations

from finetop.core.report import Tone
from finetop.core.report.load import RunFacts
from finetop.core.wording.triage import settled_words
from finetop.core.wording.verdicts import further_lines, verdict_line, word

TONES: dict[str, Tone] = {"ok": "good", "regressed": "bad", "no_verdict": "open"}


def verdict(facts: RunFacts) -> tuple[str, Tone, str, tuple[str, ...]]:
    """Return the verdict's word, its tone, its sentence, and how sure it is."""
    check, outcome = facts.detail.row.check, facts.outcome
    if outcome is None:
        return "NOT CHECKED", "open", "Not checked for forgetting yet.", ()
    name = word(outcome)
    sentence = verdict_line(outcome)[len(name) :].strip()
    if outcome.step is not None:
        sentence = f"{sentence.rstrip('.')}, at step {outcome.step:,}"
    settled = "" if check is None else settled_words(check)
    beside = [*outcome.claims, *(line.replace("  ", ": ", 1) for line in further_lines(outcome))]
    if settled:
        beside.insert(0, settled)
    return name, TONES[outcome.verdict], sentence, tuple(beside)
