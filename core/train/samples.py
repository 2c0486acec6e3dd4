"""Writes answers to a few prompts while the model trains: greedy, all prompts in one batch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from finetop.core.data.formats import Message, Prompt
from finetop.core.data.render import render_prompt
from finetop.core.models.forward import end_tokens
from finetop.core.protocol.events import Phase, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from finetop.core.runtime.event_log import EventLog

SHOWN = 2000  # characters of a prompt in its event
LONGEST = 1024  # tokens of a prompt
PHASE, EVERY_S = "writing samples", 1.0


class Counted:
    """Says now and then how many tokens of the answers are there, of how many at most; it stops nothing."""

    def __init__(self, events: EventLog, prompt: int, most: int) -> None:
        self.events, self.prompt, self.most = events, prompt, most
        self.next = time.monotonic() + EVERY_S

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        if (now := time.monotonic()) >= self.next:
            self.next = now + EVERY_S
            done = float(input_ids.shape[1] - self.prompt)
            self.events.write(Phase(PHASE, done, float(self.most), "tokens"))
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def as_prompts(texts: Sequence[str]) -> list[Prompt]:
    """Make each text a user's turn."""
    return [Prompt((Message("user", text),)) for text in texts]


def write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    step: int,
    events: EventLog,
) -> None:
    """Answer the prompts and write an event for each."""
    rendered = [render_prompt(prompt.prompt, tokenizer, tools=prompt.tools) for prompt in prompts]
    batch = tokenizer(
        rendered,
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        truncation=True,
        truncation_side="left",
        max_length=LONGEST,
    ).to(model.device)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end_tokens(model, tokenizer),
    )
    was_training = model.training
    model.eval()
    answers = model.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        generation_config=config,
        use_cache=True,
        stopping_criteria=StoppingCriteriaList([Counted(events, batch.input_ids.shape[1], max_new_tokens)]),
    )
    model.train(was_training)
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        text = str(tokenizer.decode(answer[batch.input_ids.shape[1] :], skip_special_tokens=True)).strip()
        events.write(Sample(step, index, prompt.prompt[-1].content[:SHOWN], text))
