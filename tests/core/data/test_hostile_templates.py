"""Chat templates that would take for ever or fill the memory are ended, with the row's place and what to do."""

from __future__ import annotations

import pytest

from finetop.core.data import render
from finetop.core.data.formats import Message
from finetop.core.errors import BadData


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more than 0.3 s"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}xx{% endfor %}{% endfor %}", "more than"),
        ("{{ 'x' * 1000000000 }}", "more than 64 MiB"),
        ("{{ 'x' * 2000 }}", "makes 2,000 characters"),
        ("{% for a in range(999999) %}{% endfor %}", "refuses the row"),
    ],
)
def test_a_template_is_held_to_limits(template, says, tiny_model, monkeypatch):
    from transformers import AutoTokenizer

    monkeypatch.setattr(render, "SECONDS", 0.3)
    monkeypatch.setattr(render, "BYTES", 64 << 20)
    monkeypatch.setattr(render, "LONGEST", 1000)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = template
    with pytest.raises(BadData, match=rf"rows\.jsonl:3: .*{says}"):
        render.render_prompt((Message("user", "What opens at nine?"),), tokenizer, "rows.jsonl:3")
