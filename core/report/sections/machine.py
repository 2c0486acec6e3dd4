"""How the run ran: device, times, versions, and the hashes that identify it."""

from __future__ import annotations

from finetop.core.protocol.runs import Ended
from finetop.core.report import Block, Facts, moment, state_words
from finetop.core.report.load import RunFacts

TITLE = "How it ran"


def blocks(run_facts: RunFacts) -> tuple[Block, ...]:
    detail, row = run_facts.detail, run_facts.detail.row
    state = row.state
    facts = [("run", f"{row.name}, number {row.id}"), ("state", state_words(row)), ("device", detail.device)]
    if isinstance(state, Ended) and state.since is not None:
        span = f"{moment(state.since)} to {moment(state.ended)}"
        facts.append(("trained", f"{span}, {(state.ended - state.since) / 60:,.1f} min"))
    trainable, whole = detail.planned.get("trainable_parameters"), detail.planned.get("parameters")
    if trainable and whole:
        facts.append(("learns", f"{trainable / 1e6:,.1f} of {whole / 1e6:,.0f} M parameters"))
    facts += [("tags", ", ".join(row.tags)), ("note", row.note)]
    facts.append(("versions", ", ".join(f"{name} {number}" for name, number in detail.versions.items())))
    if run_facts.outcome is not None:
        for which, model in run_facts.outcome.models.items():
            what = "adapter" if model.get("adapter") else "weights"  # an adapter leaves the base's weights
            facts.append((f"{which}, sha256 of the {what}", str(model.get(what, "-"))))
        facts.append(("plan of the check, sha256", run_facts.outcome.plan_hash))
    for parent in detail.parents:
        at = "" if parent.step is None else f", step {parent.step:,}"
        facts.append(("started from", f"{parent.name}{at}, as its {parent.setting}"))
    facts += [("start of others", ", ".join(child.name for child in detail.children))]
    return (Facts(tuple((name, text) for name, text in facts if text)),)
