"""Rows and steps of real runs are what a plan predicted, down to the fingerprint of the rows."""

import pytest
from tiny_run import chat

from finetop.core.plan import lengths, schedule
from finetop.core.protocol import events
from finetop.core.runtime.home import Home

CHATS = [
    {"messages": chat(f"What is {n}?", "It is " + "so " * (n % 7))["messages"]
     + chat("And twice that?", f"It is {2 * n}.")["messages"]}
    for n in range(1, 31)
]  # fmt: skip
TEXTS = [{"text": f"{n}. The shop opens at nine, and closes at six. " * (1 + n % 5)} for n in range(14)]
PAIRS = [
    {"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "Lamps. " * (n % 4 + 1)}
    for n in range(22)
]
PROMPTS = [{"prompt": f"What is {n}?", "answer": str(n)} for n in range(12)]
LONG = {"epochs": 1.5, "max_steps": None}
PAID = {"reward": {"rules": [{"rule": "length", "value": [1, 4]}]}, "generations": 2, "max_new_tokens": 4}
RUNS = {
    "sft": (CHATS, {"data": {"max_tokens": 80, "on_long": "drop"}}),
    "packed": (CHATS, {"objective": {"name": "sft", "packing": True}, "data": {"max_tokens": 128}}),
    "replay": (CHATS,
               {"data": {"max_tokens": 128}, "protect": {"replay": {"from_base": 4, "max_new_tokens": 6}}}),
    "pretrain": (TEXTS,
                 {"objective": {"name": "pretrain", "layers": 1, "hidden_size": 12, "heads": 2,
                                "key_value_heads": 1, "vocabulary": 310},
                  "method": {"name": "full"}}),
    "dpo": (PAIRS, {"objective": {"name": "dpo"}, "data": {"max_tokens": 128}}),
    "kto": (PAIRS, {"objective": {"name": "kto"}, "data": {"max_tokens": 128}}),
    "grpo": (PROMPTS, {"objective": {"name": "grpo", **PAID}, "samples": {"count": 0}}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_rows_and_steps_of_its_plan(name, train, tiny_model):
    rows, sections = RUNS[name]
    run = train(rows, name=name, **sections, train=LONG)
    planned = lengths.measure(run.recipe, tiny_model, Home(run.folder.parent.parent))
    assert planned is not None and planned.sampled is None
    steps = schedule.steps_of(run.recipe, planned, 1)
    assert planned.reports == tuple(run.of(events.DataRead))
    assert [planned.row] == [tuple(first.pieces) for first in run.of(events.FirstRow)]
    (told,) = run.of(events.Planned)
    assert (steps.steps, steps.rows, steps.eval_rows) == (told.steps, told.rows, told.eval_rows)
    if name in ("sft", "pretrain"):  # each row once per pass, however full the last step is
        (*_, last) = run.values("tokens")
        assert steps.tokens == pytest.approx(last, rel=0.05)
    assert max(event.step for event in run.of(events.Metrics)) == steps.steps
    # the plan can't know lengths that the base will generate; for pairs the run reports the longer half
    if name not in ("replay", "dpo"):
        assert planned.tokens == told.tokens_per_epoch
