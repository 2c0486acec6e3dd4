"""Which tokens are learned: the answer's, all of them, and nothing else."""

from __future__ import annotations

import pytest
from tiny_run import chat

from finetop.core.data import render
from finetop.core.data.examples import IGNORED, pieces
from finetop.core.data.formats import Call, Conversation, Message
from finetop.core.errors import BadInput

ASKED = Conversation((Message("user", "Where are you?"),), "Behind the station.")
TWO_ANSWERS = Conversation(
    (Message("user", "One?"), Message("assistant", "First."), Message("user", "Two?")), "Second."
)


def example_of(conversation, tokenizer, loss="answers"):
    (example,) = render.tokenize([render.render(conversation, tokenizer, loss, "row")], tokenizer)
    return example


def learned(conversation, tokenizer, loss="answers"):
    labels = example_of(conversation, tokenizer, loss).labels
    return tokenizer.decode([label for label in labels if label != IGNORED])


def test_every_answer_and_its_end_are_learned_and_no_question_but_by_loss_all(tokenizer):
    assert learned(ASKED, tokenizer) == "Behind the station.<|end|>\n"
    assert learned(TWO_ANSWERS, tokenizer) == "First.<|end|>\nSecond.<|end|>\n"
    whole = "<|user|>Where are you?<|end|>\n<|assistant|>Behind the station.<|end|>\n"
    assert learned(ASKED, tokenizer, "all") == whole
    example = example_of(ASKED, tokenizer)
    prompt = tokenizer(render.render_prompt(ASKED.prompt, tokenizer), add_special_tokens=False).input_ids
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert IGNORED not in example.labels[len(prompt) :]


def test_an_answer_of_weight_0_is_read_and_not_learned(tokenizer):
    asked, answer = TWO_ANSWERS.prompt[0], Message("assistant", "First.", is_learned=False)
    weighted = Conversation((asked, answer, TWO_ANSWERS.prompt[2]), "Second.")
    assert learned(weighted, tokenizer) == "Second.<|end|>\n"
    everything = render.render(weighted, tokenizer, "all", "row").text
    assert learned(weighted, tokenizer, "all") == everything.replace("First.<|end|>\n", "") != everything
    assert not learned(Conversation((asked,), "Second.", is_learned=False), tokenizer)


def test_no_character_of_an_odd_answer_is_lost(tokenizer):
    for answer in ("👩‍🚀 naïve 漢字", " leading space", "trailing ", "\n\nlines\n", "<|user|>"):
        assert learned(Conversation(ASKED.prompt, answer), tokenizer) == f"{answer}<|end|>\n"


def test_a_template_that_rewrites_earlier_answers_learns_only_the_last(tokenizer, monkeypatch):
    template = (
        "{%- for message in messages %}<|{{ message.role }}|>"
        "{{ message.content if loop.last or message.role != 'assistant' else '(cut)' }}<|end|>\n{% endfor %}"
        "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert render.render(TWO_ANSWERS, tokenizer, "answers", "row").rewritten == 1
    assert learned(TWO_ANSWERS, tokenizer) == "Second.<|end|>\n"


def test_a_row_that_the_template_refuses_or_a_prompt_that_is_no_prefix_is_named(tokenizer, monkeypatch):
    template = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(BadInput, match=r"^faq\.jsonl:3: the chat template writes the prompt differently"):
        render.render(ASKED, tokenizer, "answers", "faq.jsonl:3")
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system turns') }}")
    with pytest.raises(BadInput, match=r"^faq\.jsonl:3: .*no system turns"):
        render.render(ASKED, tokenizer, "answers", "faq.jsonl:3")


def test_pieces_show_the_row_as_it_is_after_the_cut(tokenizer):
    example = example_of(ASKED, tokenizer)
    shown = pieces(example, tokenizer)
    assert [is_learned for _, is_learned in shown] == [False, True]
    assert "".join(text for text, _ in shown) == render.render(ASKED, tokenizer, "answers", "row").text
    prompt_tokens = len(example.input_ids) - example.answer_tokens
    cut = example.cut(prompt_tokens + 1)
    assert cut.answer_tokens == 1
    assert [is_learned for _, is_learned in pieces(cut, tokenizer)] == [False, True]


def test_a_model_without_a_chat_template_gets_the_plain_one(tiny_model, tmp_path):
    import shutil

    from finetop.core.models import load, resolved

    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink()
    base = resolved.ResolvedModel("base", folder, None, None, "local folder", "0" * 64)
    tokenizer = load.load_tokenizer(base)
    assert load.has_plain_template(tokenizer)
    turn = "### Question\n{}?\n\n### Answer\n{}.<|end|>\n"
    rendered = render.render(TWO_ANSWERS, tokenizer, "answers", "row").text
    assert rendered == turn.format("One", "First") + turn.format("Two", "Second")
    assert learned(ASKED, tokenizer) == "Behind the station.<|end|>\n"


TOOLS = ({"name": "find", "parameters": {"type": "object"}},)
CALL = Message("assistant", "", (Call("find", {"what": "you"}),))
CALLED = Conversation((Message("user", "Where?"), CALL, Message("tool", "12, 30")), "At sea.", tools=TOOLS)
WITH_TOOLS = (
    "{%- if tools %}<|system|>{{ tools | tojson }}<|end|>\n{% endif %}"
    "{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{%- for call in message.tool_calls or [] %}CALL {{ call.function.name }}{% endfor %}<|end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_calls_are_written_by_a_template_that_knows_them(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", WITH_TOOLS)
    rendered = render.render(CALLED, tokenizer, "answers", "row")
    assert rendered.text.startswith('<|system|>[{"type": "function", "function": {"name": "find"')
    assert "<|assistant|>CALL find<|end|>\n<|tool|>12, 30<|end|>" in rendered.text
    assert [rendered.text[a:b] for a, b in rendered.learned] == ["CALL find<|end|>\n", "At sea.<|end|>\n"]


def test_calls_are_written_in_words_where_the_template_knows_none(tokenizer):
    rendered = render.render(CALLED, tokenizer, "answers", "row")
    assert rendered.text.startswith("<|system|>You may call functions.")
    call = '<tool_call>\n{"name": "find", "arguments": {"what": "you"}}\n</tool_call><|end|>\n'
    assert [rendered.text[a:b] for a, b in rendered.learned] == [call, "At sea.<|end|>\n"]
    assert "<|user|><tool_response>\n12, 30\n</tool_response><|end|>" in rendered.text


def test_prompts_that_the_model_answers_itself_have_their_tools(tokenizer):
    from finetop.core.data.formats import read
    from finetop.core.data.sources import Row
    from finetop.core.train.objectives import grpo

    row = {"tools": [{"name": "weather"}], **chat("Rain?", "No.")}
    ((example,),) = grpo.PLUGIN.examples([Row("a:1", read(row, "a:1"))], grpo.Options(), tokenizer, 100)
    assert "weather" in tokenizer.decode(example.prompt_ids)
