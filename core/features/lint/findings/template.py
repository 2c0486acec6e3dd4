"""Chat template marks within texts: <|im_start|>, [INST], ### Response:, whole or broken."""

from __future__ import annotations

import re
from typing import Any

from finetop.core.features.lint.edit_row import with_texts
from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row

_NAMES = (
    "im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text|endoftext|end_of_turn"
    "|start_of_turn|system|user|assistant|end|eos|bos|pad|fim_prefix|fim_suffix|fim_middle|python_tag|turn_start|turn_end"
)
# that nobody writes for anything else
_WORDS = "im_start|im_end|eot_id|start_header_id|end_header_id|endoftext"
_HINTS = (
    "<|", "im_start", "im_end", "eot_id", "_header_id", "endoftext", "INST", "SYS", "_of_turn",
    "<s>", "</s>", "###", "<unk>", "<pad>", "<eos>", "<bos>", "[PAD]", "[EOS]", "[BOS]",
)  # fmt: skip
_MARK = re.compile(
    rf"(?P<token><\|(?:{_NAMES})\|>|<(?:start|end)_of_turn>|</?s>|<(?:unk|pad|eos|bos)>|\[(?:PAD|EOS|BOS)\])"
    r"|(?P<inst>\[/?INST\]|<</?SYS>>)"
    r"|(?P<header>^[ \t]*###[ \t]*(?:Response|Instruction|Human|Assistant|User|System)[ \t]*:)"
    rf"|(?P<broken><?[ \t]?\|[ \t]?(?:{_WORDS})[ \t]?\|?[ \t]?>?|<?[ \t]?\|?[ \t]?(?:{_WORDS})[ \t]?\|[ \t]?>?"
    r"|\[ ?/?INST(?![\w\]])|(?<![A-Z_\[/])/?INST\]|<<? ?/?SYS ?>>?)",
    re.MULTILINE,
)
_KINDS = {"token": "a special token", "inst": "[INST] or <<SYS>>"}
_KINDS |= {"header": "a prompt's heading", "broken": "a broken mark"}
_END = re.compile(
    r"(?:<\|(?:im_end|eot_id|eom_id|end(?:oftext|_of_text)?|eos)\|>|</s>|<end_of_turn>|<eos>|<pad>)$"
)
_BEGIN = {
    "assistant": re.compile(
        r"^\s*(?:<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|assistant\|>"
        r"|<start_of_turn>model|\[/INST\]|###[ \t]*(?:Response|Assistant)[ \t]*:)[ \t]*\n*\s?"
    ),
    "user": re.compile(
        r"^\s*(?:<s>\s*)?(?:<\|im_start\|>user|<\|start_header_id\|>user<\|end_header_id\|>|<\|user\|>|<start_of_turn>user"
        r"|\[INST\]|###[ \t]*(?:Instruction|Human|User)[ \t]*:)[ \t]*\n*\s?"
    ),
    "system": re.compile(
        r"^\s*(?:<\|im_start\|>system|<\|start_header_id\|>system<\|end_header_id\|>|<\|system\|>|<<SYS>>"
        r"|###[ \t]*System:)\s*"
    ),
}
LONGEST = 20  # characters of a mark that ends a turn


class Template(Rule):
    about = "chat template tokens in texts"
    why = (
        "The tokenizer reads many of them as the tokens that start or end a turn: the model learns to"
        " stop early, to speak for the user, or to generate them as text."
    )
    fix = "cut them off at the start and end of a text, where they can mean nothing else"
    do = "remove chat template tokens from the texts"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        sights: list[Sight] = []
        is_fixed = True
        for turn in row.turns:
            text = turn.text
            if not any(hint in text for hint in _HINTS) or (match := _first_mark(text)) is None:
                continue
            sights.append(Sight(_KINDS[str(match.lastgroup)], excerpt(text, *match.span())))
            is_fixed = is_fixed and repaired(text, turn.role) is not None
        if sights and is_fixed and row.record is not None:
            return [Sight(sight.kind, sight.text, "fix") for sight in sights]
        return sights or None

    def fixed(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """Repair every text of a row; None if one can't be repaired."""
        return with_texts(raw, lambda text, role: text if _first_mark(text) is None else repaired(text, role))


def _first_mark(text: str) -> re.Match[str] | None:
    """Return the first mark; <s>struck through</s> is not one."""
    is_struck = "<s>" in text and "</s>" in text.partition("<s>")[2]
    marks = (match for match in _MARK.finditer(text) if not (is_struck and match[0] in ("<s>", "</s>")))
    return next(marks, None)


def repaired(text: str, role: str) -> str | None:
    """Cut marks at a text's edges: its own turn's heading, and end marks. None if other marks, or no text, remain."""
    bare = text.rstrip()
    while (match := _END.search(bare, max(0, len(bare) - LONGEST))) is not None:
        text = bare = bare[: match.start()].rstrip()
    if role == "user" and bare.endswith("[/INST]"):
        text = bare.removesuffix("[/INST]").rstrip()
    if role in _BEGIN:
        text = _BEGIN[role].sub("", text)
    return text if text.strip() and _first_mark(text) is None else None


PLUGIN = Template()
