"""A GGUF file, answered by llama.cpp in a process of its own, with the chat template that is in the file."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.data.render import held_to_limits
from finetop.core.errors import BadInput, first_line
from finetop.core.features.chat.sides import Answered, Opening, Request, SideKind, Writer
from finetop.core.models import load
from finetop.core.models.imports.inspect import require_gguf
from finetop.core.models.llama_cpp import model as llama_cpp
from finetop.core.models.llama_cpp.messages import Sampling
from finetop.core.protocol.events import Phase

if TYPE_CHECKING:
    from finetop.core.features.chat.messages import ChatSide
    from finetop.core.features.chat.transcript import Side

LONGEST = 8192  # tokens of a conversation: the memory for them is taken at the start


class Gguf(SideKind):
    about = "a GGUF file"

    def check(self, side: ChatSide) -> None:
        require_gguf(Path(side.path))

    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        opening.events.write(Phase(f"loading {side.side.label}"))
        return open_file(Path(side.side.path))


def open_file(path: Path) -> GgufWriter:
    """Load a file. Raises BadInput, EnvironmentTrouble."""
    with ExitStack() as stack:
        process = stack.enter_context(llama_cpp.started())
        trained = process.open(path, context=0).facts.trained_context
        model = process.open(path, context=min(trained or LONGEST, LONGEST))
        return GgufWriter(model, stack.pop_all())


@dataclass
class GgufWriter(Writer):
    """Answers with a file that llama.cpp has loaded; its process lives as long as this."""

    model: llama_cpp.Model
    stack: ExitStack

    def __post_init__(self) -> None:
        texts, bos, eos = self.model.vocabulary(), self.model.facts.bos, self.model.facts.eos
        self.bos, self.eos = (texts[token] if token >= 0 else "" for token in (bos, eos))

    def answer(self, request: Request) -> Answered:
        settings, began, first_s, tokens = request.settings, time.monotonic(), 0.0, 0
        text = request.messages[-1].content if settings.raw else self.rendered(request)
        has_bos = bool(self.bos) and text.startswith(self.bos)
        (ids,) = self.model.tokenize([text], add_special=not has_bos)
        if not ids:
            raise BadInput("the prompt has no tokens.", hint="Type some text.")
        if len(ids) >= self.model.facts.context:
            message = f"the conversation has {len(ids):,} tokens, and there is room for {self.model.facts.context:,}"
            raise BadInput(f"{message}.", hint="Begin a new one.")
        sampling = Sampling(settings.temperature, top_p=settings.top_p, seed=settings.seed)
        with closing(self.model.generate(ids, settings.max_new_tokens, sampling)) as answer:
            for token in answer:
                tokens += 1
                first_s = first_s or time.monotonic() - began
                if token.ends:
                    return Answered("end", tokens, first_s, len(ids))
                request.piece(token.text)
                if request.is_stopped():
                    return Answered("stopped", tokens, first_s, len(ids))
        return Answered("length", tokens, first_s, len(ids))

    def rendered(self, request: Request) -> str:
        """Render a conversation with the file's template, else the plain one. Raises BadInput."""
        from transformers.utils.chat_template_utils import render_jinja_template

        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        template: Any = self.model.facts.template or load.PLAIN_TEMPLATE

        def rendered() -> Any:
            tokens = {"bos_token": self.bos, "eos_token": self.eos}
            texts, _ = render_jinja_template(
                [turns], chat_template=template, add_generation_prompt=True, **tokens
            )
            return texts[0]

        hint = "Leave the system prompt out, or begin a new conversation."
        try:
            return held_to_limits(rendered, "the GGUF file", "conversation", hint)
        except (TypeError, ValueError) as error:
            message = f"the file's chat template refuses the conversation: {first_line(error)}"
            raise BadInput(f"{message}.", hint=hint) from error


PLUGIN = Gguf()
