"""Chat templates that would run for ever or fill memory are stopped, with the row's place and a fix."""

from __future__ import annotations

import pytest

from finetop.core.data import render
from finetop.core.data.formats import Message
from finetop.core.errors import BadData
from finetop.core.models.fast_tokenizer import Characters


def rendered(tokenizer):
    return render.render_prompt((Message("user", "What opens at nine?"),), tokenizer, "rows.jsonl:3")


@pytest.mark.parametrize(
    ("template", "says"),
    {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "more than 0.3 s",
        "{% for a in range(9999) %}{% for b in range(9999) %}xx{% endfor %}{% endfor %}": "into 1,002 characters",
        "{{ 'x' * 1000000000 }}": "into 1,000,000,000 characters",
        "{{ 1000000000 * 'x' }}": "into 1,000,000,000 characters",
        "{{ ([1] * 1000000000) | length }}": "into 1,000,000,000 characters",
        "{% macro m() %}{% for a in range(9999) %}xx{% endfor %}{% endmacro %}{{ m()|length }}": "into 1,002 char",
        "{% set n = namespace(s='x') %}{% for a in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}": "into 1,024 characters",  # noqa: E501
        "{{ 9 ** (9 ** 9) }}": "refuses the row: a number of more than",
        "{{ 'x'.center(1000000000) }}": "more than 64 MiB",
        "{{ '%1000000000d' % 3 }}": "more than 64 MiB",
        "{{ 'x'.center(2000) }}": "into 2,000 characters",
        "{% for a in range(999999) %}{% endfor %}": "refuses the row",
    }.items(),
)
def test_a_template_is_held_to_limits(template, says, tokenizer, monkeypatch):
    monkeypatch.setattr(render, "SECONDS", 0.3)
    monkeypatch.setattr(render, "BYTES", 64 << 20)
    monkeypatch.setattr(render, "LONGEST", 1000)
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(BadData, match=rf"rows\.jsonl:3: .*{says}"):
        rendered(tokenizer)


def test_a_template_that_calculates_a_little_is_taken_as_it_is(tokenizer, monkeypatch):
    template = "{{ '-' * 3 ~ (2 ** 10 + 3 * 4) ~ ('a' + 'b') ~ ([1] + [2]) ~ 0 ** 9 ~ 1.5 * 2 }}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert rendered(tokenizer) == "---1036ab[1, 2]03.0"


@pytest.mark.parametrize("template", ["{{ 9 ** (9 ** 9) }}", "{{ 'x' * 1000000000 }}"])
def test_what_stands_for_a_tokenizer_reads_a_template_within_the_same_limits(template, monkeypatch):
    """Jinja computes constants while it compiles a template."""
    monkeypatch.setattr(render, "LONGEST", 1000)
    with pytest.raises(BadData, match=r"rows\.jsonl:3: "):
        rendered(Characters(template=template))
