"""The chat template inside a GGUF file is somebody else's program: it has the limits of every template."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from finetop.core.data import render
from finetop.core.data.formats import Message
from finetop.core.errors import BadInput
from finetop.core.features.chat.messages import ChatSettings
from finetop.core.features.chat.sides import Request
from finetop.core.features.chat.sides.gguf import GgufWriter


@pytest.mark.parametrize(("template", "says"), [
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes more than 0.3 s"),
    ("{{ 'a' * 2500000000 }}", "the GGUF file: the model's chat template"),
    ("{{ messages[7].content.x }}", "refuses the conversation"),
])  # fmt: skip
def test_a_template_without_end_is_one_line(monkeypatch, template, says):
    monkeypatch.setattr(render, "SECONDS", 0.3)
    facts = SimpleNamespace(template=template, bos=-1, eos=-1)
    model = SimpleNamespace(facts=facts, vocabulary=list)
    request = Request([Message("user", "Hi")], ChatSettings(), print, lambda: False)
    with pytest.raises(BadInput, match=says):
        GgufWriter(model, ExitStack()).rendered(request)
