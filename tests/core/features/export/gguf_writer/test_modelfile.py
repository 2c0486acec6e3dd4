"""The Modelfile has the template only if it can be said as a table, which then renders conversations alike."""

from __future__ import annotations

import copy
from typing import Any

import gguf_models
from transformers import LlamaConfig

from finetop.core.features.export.gguf_writer import material, modelfile
from finetop.core.features.export.gguf_writer.writer import Source


def source(template: str | None, **config: Any) -> Source:
    tokenizer = copy.copy(gguf_models.tokenizer_of("smollm"))
    tokenizer.chat_template = template
    return Source(LlamaConfig(**config), tokenizer, [2, 0], 908, "smollm", "mine-7")


def test_a_table_is_said_in_go() -> None:
    chatml = source(gguf_models.TEMPLATE)
    text = modelfile.modelfile(chatml, "mine-7-q8_0.gguf", 512)
    begins = 'FROM ./mine-7-q8_0.gguf\nTEMPLATE """{{ if not .System }}<|im_start|>system\nYou help.'
    stops = 'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|endoftext|>"\n'
    assert text.startswith(begins)
    assert text.endswith(f'<|im_start|>assistant\n"""\n{stops}PARAMETER num_ctx 512\n')
    for start, role, end in (("if", "system", ""), ("else if", "assistant", "{{ end }}")):
        case = f'{{{{ {start} eq .Role "{role}" }}}}<|im_start|>{role}\n{{{{ .Content }}}}<|im_end|>\n{end}'
        assert case in text
    turns = modelfile.turns_of(chatml.tokenizer)
    assert turns is not None
    chat = [{"role": role, "content": f"{role} says"} for role in ("system", "user", "assistant", "user")]
    rendered = chatml.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert turns.render(chat) == rendered
    braces = modelfile.Turns({"user": ("{{", "}}")}, "", "")
    assert '{{ "{{" }}{{ .Content }}}}' in braces.go()


def test_what_a_table_can_not_say_is_left_to_the_file() -> None:
    trimmed = gguf_models.TEMPLATE.replace("message['content']", "(message['content'] | trim)")
    no_system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + trimmed
    counted = gguf_models.TEMPLATE.replace("'<|im_end|>\n' }}{% endfor", "(loop.index | string) }}{% endfor")
    for template in (trimmed, no_system, counted):
        text = modelfile.modelfile(source(template), "x.gguf", 99_999)
        assert 'TEMPLATE "' not in text and "OLLAMA_GO_TEMPLATE=0" in text
        assert text.endswith("PARAMETER num_ctx 8192\n")
    assert "TEMPLATE" not in modelfile.modelfile(source(None), "x.gguf", 512)


def test_longrope_keeps_ollama_to_what_is_proven() -> None:
    long = source(None, rope_parameters=gguf_models.LONG)
    assert modelfile.modelfile(long, "x.gguf", 512).endswith("PARAMETER num_ctx 256\n")


def test_there_is_enough_to_prove_with() -> None:
    texts = material.strings(["<|x|>"])
    assert len(texts) > 500 and len(set(texts)) > 500
    assert any("<|x|>" in text for text in texts) and any(text.isdigit() for text in texts)
