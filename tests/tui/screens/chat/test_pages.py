"""The pages of the Chat screen as functions: prompts by their words, models by what is typed, values of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_fakes import at_hand
from tui_fakes import NOW, mixed_rows

from finetop.core.errors import BadInput
from finetop.core.features.chat.messages import ChatSide
from finetop.tui.screens.chat.models_page import of_others, typed_model
from finetop.tui.screens.chat.prompts_page import matching
from finetop.tui.screens.chat.session import keys_of
from finetop.tui.screens.chat.settings_page import SETTINGS, fault


def test_prompts_are_found_by_label_text_and_expected_answer() -> None:
    assert [prompt.label for prompt in matching(at_hand(), "malta")] == ["row 2"]
    assert [prompt.label for prompt in matching(at_hand(), "arith 85")] == ["arith item 17"]
    assert {prompt.source for prompt in matching(at_hand(), "lost newest")} == {"lost"}, "by their section"
    assert len(matching(at_hand(), "")) == 4


@pytest.mark.parametrize(("text", "model"), [
    ("support-r16", None),
    ("r16@400", ChatSide("r16@400", "checkpoint", run="r16", step=400)),
    ("m.gguf", ChatSide("m.gguf", "gguf", path="/here/m.gguf")),
    ("/models/m.gguf", ChatSide("m.gguf", "gguf", path="/models/m.gguf")),
    ("http://h:8000/v1", ChatSide("http://h:8000/v1", "endpoint", url="http://h:8000/v1")),
    ("https://h/v1 qwen3-4b $TOKEN",
     ChatSide("qwen3-4b", "endpoint", url="https://h/v1", model="qwen3-4b", key_env="TOKEN")),
])  # fmt: skip
def test_a_typed_text_names_a_model(text: str, model: ChatSide | None) -> None:
    assert typed_model(text, Path("/here")) == model


def test_files_of_another_machine_need_their_whole_path_and_keys_their_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(BadInput, match=r"m\.gguf: a file on another machine needs its absolute path"):
        typed_model("m.gguf", None)
    side = ChatSide("qwen", "endpoint", url="https://h/v1", key_env="CHAT_TEST_TOKEN")
    with pytest.raises(BadInput, match="CHAT_TEST_TOKEN is not set"):
        keys_of([side])
    monkeypatch.setenv("CHAT_TEST_TOKEN", "secret")
    assert keys_of([side, ChatSide("base", "base")]) == {"CHAT_TEST_TOKEN": "secret"}


def test_with_several_machines_only_runs_of_the_chats_own_are_offered() -> None:
    rows, run = mixed_rows(), "support-full-1e-4"
    assert run not in [choice.model.run for choice in of_others(rows, run, "", NOW)]
    assert of_others(rows, run, "box", NOW) == []


@pytest.mark.parametrize(("name", "text", "why"), [
    ("temperature", "5.5", "temperature must be a number from 0 to 5, not '5.5'"),
    ("temperature", "nan", "temperature must be a number from 0 to 5, not 'nan'"),
    ("top_p", "0", "top_p must be a number above 0, up to 1, not '0'"),
    ("seed", "-1", "seed must be a whole number from 0, not '-1'"),
    ("max_new_tokens", "x", "at most must be a whole number from 1 to 32,768, not 'x'"),
    ("max_new_tokens", "1,024", ""),
    ("top_p", " 0.9 ", ""),
])  # fmt: skip
def test_a_setting_says_what_it_must_be(name: str, text: str, why: str) -> None:
    (setting,) = [setting for setting in SETTINGS if setting.name == name]
    assert fault(setting, text) == why
