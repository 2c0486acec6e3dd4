"""Writes an Ollama Modelfile: the file, the template where it can be said in Go, and what stops an answer.

The Go template is a table of what the Jinja template puts around each role's text. It is written only if that table
renders all test conversations as Jinja does; else there is none, and Ollama from 0.30 on renders the Jinja template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.features.export.gguf_writer import material, rope, tokenizer as tokens
from finetop.core.features.export.gguf_writer.writer import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

MARK = "@@{}@@"
# Ollama's own default is smaller than what most models are trained for; its cache takes memory
LONGEST_CONTEXT = 8192
NO_TEMPLATE = (
    "# The chat template does more than a Modelfile can say. Ollama 0.30 and later uses the one in the GGUF file,\n"
    "# unless it takes it for one that it knows: set OLLAMA_GO_TEMPLATE=0 on the server, and compare an answer.\n"
)


@dataclass(frozen=True)
class Turns:
    """A chat format without logic: what stands around each role's text."""

    around: dict[str, tuple[str, str]]
    default_system: str  # what a conversation without a system message begins with
    generate: str

    def render(self, chat: material.Chat) -> str:
        """Return a conversation as text."""
        text = "" if chat[0]["role"] == "system" else self.default_system
        for turn in chat:
            before, behind = self.around[turn["role"]]
            text += before + turn["content"] + behind
        return text + self.generate

    def go(self) -> str:
        """Return the same as a Go template."""
        cases = [
            f'{{{{ {"else " if place else ""}if eq .Role "{role}" }}}}{_go(before)}{{{{ .Content }}}}{_go(behind)}'
            for place, (role, (before, behind)) in enumerate(self.around.items())
        ]
        default = _go(self.default_system)
        first = f"{{{{ if not .System }}}}{default}{{{{ end }}}}" if default else ""
        return (
            f"{first}{{{{ range .Messages }}}}{''.join(cases)}{{{{ end }}}}{{{{ end }}}}{_go(self.generate)}"
        )


def _go(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def modelfile(source: Source, file: str, context: int) -> str:
    """Return the text of a Modelfile for a GGUF file beside it."""
    tokenizer: Any = source.tokenizer
    lines = [f"FROM ./{file}\n"]
    turns = turns_of(tokenizer) if tokens.template_of(tokenizer) else None
    if turns is not None and '"""' not in turns.go():
        lines.append(f'TEMPLATE """{turns.go()}"""\n')
    elif tokens.template_of(tokenizer):
        lines.append(NO_TEMPLATE)
    stops = [tokenizer.convert_ids_to_tokens(number) for number in source.stops]
    lines += [f'PARAMETER stop "{stop}"\n' for stop in stops if '"' not in stop]
    longest = rope.short_context(source.config) or context
    lines.append(f"PARAMETER num_ctx {min(longest, context, LONGEST_CONTEXT)}\n")
    return "".join(lines)


def turns_of(tokenizer: Tokenizer) -> Turns | None:
    """Return the chat format; None if the template does more than a table can say."""
    try:
        turns = _derived(tokenizer)
        rendered = [(chat, _jinja(tokenizer, chat)) for chat in material.chats()]
    except Exception:  # a template raises what it likes: no system message, roles that must alternate
        return None
    return turns if all(turns.render(chat) == text for chat, text in rendered) else None


def _jinja(tokenizer: Any, chat: material.Chat, *, generate: bool = True) -> str:
    text: str = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generate)
    # Ollama puts it in front itself
    return text.removeprefix(tokenizer.bos_token) if tokens.begins_with_bos(tokenizer) else text


def _derived(tokenizer: Tokenizer) -> Turns:
    """Read the table from conversations whose texts are marks. Raises ValueError where a mark is not there once."""
    turn = material.turn
    system, user, assistant, last = (MARK.format(letter) for letter in "SUAV")
    before_user, after_user = _jinja(tokenizer, [turn("user", user)], generate=False).split(user)
    generate = _jinja(tokenizer, [turn("user", user)])[len(before_user + user + after_user) :]
    pair = [turn("user", user), turn("assistant", assistant)]
    _, after_assistant = _jinja(tokenizer, pair, generate=False).split(assistant)
    whole = _jinja(tokenizer, [turn("system", system), *pair, turn("user", last)], generate=False)
    before_system, rest = whole.split(system)
    system_to_user, rest = rest.split(user)
    user_to_assistant, rest = rest.split(assistant)
    to_last, _ = rest.split(last)
    own_before_user = to_last.removeprefix(after_assistant)
    around = {
        "system": (before_system, system_to_user.removesuffix(own_before_user)),
        "user": (own_before_user, after_user),
        "assistant": (user_to_assistant.removeprefix(after_user), after_assistant),
    }
    return Turns(around, before_user.removesuffix(own_before_user), generate)
