"""Writes answers to a few prompts while the model trains: greedily, all prompts at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from finetop.core.data.formats import Message, Prompt
from finetop.core.data.render import render_prompt
from finetop.core.models import engine as engines
from finetop.core.models.engine import Engine
from finetop.core.models.forward import end_tokens
from finetop.core.protocol.events import Phase, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.runtime.event_log import EventLog

SHOWN = 2000  # characters of a prompt in its event
LONGEST = 1024  # tokens of a prompt
PHASE, EVERY_S = "generating samples", 1.0


def progress_reporter(events: EventLog, most: int) -> Callable[[int], None]:
    """Return a function that reports, at most once a second, how many tokens are generated, of at most `most`."""
    begun_at = time.monotonic()
    last_shown = 0

    def show(done: int) -> None:
        nonlocal last_shown
        if (seconds := int((time.monotonic() - begun_at) / EVERY_S)) > last_shown:
            last_shown = seconds
            events.write(Phase(PHASE, float(done), float(most), "tokens"))

    return show


def as_prompts(texts: Sequence[str]) -> list[Prompt]:
    """Return each text as a user's turn."""
    return [Prompt((Message("user", text),)) for text in texts]


def write(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    step: int,
    events: EventLog,
    engine: Engine = "exact",
) -> None:
    """Answer the prompts and write an event for each."""
    rendered = [render_prompt(prompt.prompt, tokenizer, tools=prompt.tools) for prompt in prompts]
    prompt_ids = tokenizer(
        rendered, add_special_tokens=False, truncation=True, truncation_side="left", max_length=LONGEST
    ).input_ids
    pad, ends = tokenizer.pad_token_id, end_tokens(model, tokenizer)
    most = max_new_tokens
    config = GenerationConfig(do_sample=False, max_new_tokens=most, pad_token_id=pad, eos_token_id=ends)
    was_training = model.training
    model.eval()
    report = progress_reporter(events, max_new_tokens)
    answers = engines.write(model, prompt_ids, config, engine, counted=report)
    model.train(was_training)
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        text = str(tokenizer.decode(answer, skip_special_tokens=True)).strip()
        events.write(Sample(step, index, prompt.prompt[-1].content[:SHOWN], text))
