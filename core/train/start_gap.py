"""The loss at the start of methods with virtual tokens: they begin as noise and can shift a model far from its base."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetop.core.data.examples import AnyExample, Example
from finetop.core.protocol.events import Alarm
from finetop.core.train.methods import LEARNED_TOKENS

if TYPE_CHECKING:
    from finetop.core.runtime.event_log import EventLog

ROWS = 4
MOST = 0.5  # nats/token above the base without an alarm: prompt tuning starts with words of the vocabulary


def report(method: str, model: Any, train: Sequence[AnyExample], events: EventLog) -> None:
    """Log how far above the base's loss the model starts, and raise an alarm if it is far."""
    rows = [example for example in train if isinstance(example, Example)][:ROWS]
    if method not in LEARNED_TOKENS or not rows:
        return
    with model.disable_adapter():
        base = _loss(model, rows)
    begins = _loss(model, rows)
    print(f"before step 1: {begins:.2f} nats/token with the virtual tokens, {base:.2f} without", flush=True)
    if begins - base > MOST:
        text = (
            f"it starts {begins - base:.1f} nats/token above its base: the tokens of {method} start at random, and "
            "training first has to undo their effect (more steps, fewer method.tokens, or lora,"
            " which starts at the base)"
        )
        events.write(Alarm("drift", 0, text))
        print(f"alarm: {text}", flush=True)


def _loss(model: Any, rows: Sequence[Example]) -> float:
    """Return the mean loss of the rows' learned tokens, in nats."""
    import torch

    was_training = model.training
    model.eval()
    total = count = 0.0
    with torch.no_grad(), warnings.catch_warnings():
        # PEFT 0.21 still passes keys and values by their old name.
        warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)
        for row in rows:
            ids, labels = (torch.tensor([part], device=model.device) for part in (row.input_ids, row.labels))
            total += float(model(input_ids=ids, labels=labels).loss) * row.answer_tokens
            count += row.answer_tokens
    model.train(was_training)
    return total / max(1.0, count)
