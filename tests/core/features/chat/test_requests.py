"""Chats through the supervisor: opened, asked, read, stopped, kept and closed; their sides, and their prompts."""

import json

import pytest
from chat_server import chat_server, never_ends, says
from chats import endpoint, open_chat
from waiting import wait_until

from finetop.core.errors import FinetopError
from finetop.core.features.chat import messages
from finetop.core.features.chat.messages import ChatSide
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.bisect import Earlier
from finetop.core.protocol.messages.queue import Pause
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.messages.trash import Remove

KEY = "sk-secret-of-a-test"


@pytest.mark.slow
def test_a_chat_from_its_opening_to_its_end(rig, tmp_path):
    name = rig.submit(steps=4, saved=[2, 4])
    rig.wait_state(name, "finished")
    with chat_server(says("Hello", " you")) as server, chat_server(says("Good", " day")) as other:
        near, far = endpoint(server.url, "near", key_env="MY_KEY"), endpoint(other.url)
        chat = open_chat(rig, name, near, far, keys={"MY_KEY": KEY, "OTHER": "x"})
        assert open_chat(rig, name, near, far).chat == chat.chat  # the one that is open
        assert open_chat(rig, name, near, far, is_own=True).chat != chat.chat
        chat.ask(1, "Hi", system="Be brief.", temperature=0.5)
        chat.ask(1, "Hi")  # again, as after a link that broke
        with pytest.raises(FinetopError, match=r"prompt 1 was put before. The next one is 2."):
            chat.ask(1, "Another")
        with pytest.raises(FinetopError, match=r"sides is \[2\], and this chat has 2"):
            chat.ask(2, "Hi", sides=(2,))
        chat.until("end", 1, 2)
        assert (chat.text(1, 0), chat.text(1, 1)) == ("Hello you", "Good day")
        assert [line.kind for line in chat.lines].count("prompt") == 1
        assert server.keys == [f"Bearer {KEY}"] and other.keys == [""]
        chat.ask(2, "And?", sides=(0,))  # with the turns before it; then without
        chat.ask(3, "New", fresh=True)
        chat.until("end", 3, 2)
        turns = [[turn["content"] for turn in asked["messages"]] for asked in server.asked]
        assert turns == [["Be brief.", "Hi"], ["Hi", "Hello you", "And?"], ["New"]]
        assert len(other.asked) == 2
        # it is a side job of its run: shown, not in the way of what the run does, and not to be paused
        detail = rig.ask(GetRun(name))
        assert {job.verb for job in detail.row.others} == {"chat"}
        assert isinstance(detail.row.state, data.Finished) and not detail.row.needs_you
        assert detail.jobs[-1].args["sides"][0]["label"] == "near"
        with pytest.raises(FinetopError, match="the chat of fake is running"):
            rig.ask(Remove([name]))
        with pytest.raises(FinetopError, match=r"can't be paused. Close it"):
            rig.ask(Pause(name))
        # kept: as a sample, and as a row
        rig.ask(messages.KeepAnswer(*chat.chat, 1, 0))
        samples = wait_until(lambda: rig.ask(GetRun(name)).samples, "the sample")
        assert [(sample.step, sample.prompt, sample.text) for sample in samples] == [(0, "Hi", "Hello you")]
        file = tmp_path / "test.jsonl"
        rig.ask(messages.KeepAnswer(*chat.chat, 2, 0, str(file), "Better."))
        assert [turn["content"] for turn in json.loads(file.read_text())["messages"]] == ["And?", "Better."]
        for number, side, to in ((9, 0, ""), (1, 5, ""), (1, 0, "relative.jsonl")):
            with pytest.raises(FinetopError):
                rig.ask(messages.KeepAnswer(*chat.chat, number, side, to))
        rig.ask(messages.CloseChat(*chat.chat))
        wait_until(lambda: chat.read() is not None and isinstance(chat.state, data.Stopped), str(chat.state))
        with pytest.raises(FinetopError, match=r"the chat has ended. Open another: finetop chat fake"):
            chat.ask(4, "Hi")
        with pytest.raises(FinetopError, match="a sample needs one that is open"):
            rig.ask(messages.KeepAnswer(*chat.chat, 1, 0))
        with pytest.raises(FinetopError, match="has no chat 999"):
            rig.ask(messages.ReadChat(name, 999))
    kept = [file for file in rig.home.root.rglob("*") if file.is_file()]
    assert not [file for file in kept if KEY.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_stop_and_what_waits_for_nothing_new(rig):
    name = rig.submit(steps=1, saved=[1])
    rig.wait_state(name, "finished")
    with chat_server(never_ends(), says("ok")) as server:
        chat = open_chat(rig, name, endpoint(server.url))
        chat.ask(1, "Go on", max_new_tokens=30_000)
        chat.until("text", 1)
        rig.ask(messages.StopAnswers(*chat.chat))
        assert [line.why for line in chat.until("end", 1)] == ["stopped"]
        chat.ask(2, "Hi")
        chat.until("end", 2)
        assert chat.text(2) == "ok"
        assert chat.read(0.0) == [] and chat.read(0.3) == []
        assert isinstance(chat.state, data.Running) and chat.state.phase == "open"
        rig.ask(messages.CloseChat(*chat.chat))
        wait_until(lambda: chat.read() is not None and isinstance(chat.state, data.Ended))


def test_sides_and_prompts(rig, tmp_path):
    rows = tmp_path / "test.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    recipe, text = rig.recipe(None, {"steps": 4, "saved": [2, 4]})
    recipe["check"] = {**recipe["check"], "target": {"path": str(rows), "metric": "exact_match"}}
    recipe["samples"] = {**recipe["samples"], "prompts": ["Who are you?"]}
    name = rig.ask(Submit(recipe, text, "fake")).name
    rig.wait_state(name, "finished")
    found = rig.ask(messages.ChatPrompts(name, 2)).prompts
    assert [(prompt.source, prompt.label, prompt.text, prompt.expected) for prompt in found] == [
        ("recipe", "prompt 1", "Who are you?", ""),
        ("test", "row 1", "a", "b"),
        ("test", "row 2", "a", "b"),
    ]
    opened = open_chat(rig, name).opened
    assert [(side.label, side.kind, side.run, side.step) for side in opened.sides] == [
        ("base", "base", name, None),
        ("tuned", "checkpoint", name, 4),
    ]
    rig.ask(messages.CloseChat(name, opened.job_id))
    remedied = ChatSide("", "checkpoint", remedy="interpolate-0.5", step=2)
    opened = open_chat(rig, name, ChatSide("", "base"), remedied).opened
    assert [side.label for side in opened.sides] == ["base", "fake@2 interpolate-0.5"]
    rig.ask(messages.CloseChat(name, opened.job_id))
    for side, why in (
        (ChatSide("", "checkpoint", step=3), "no checkpoint at step 3"),
        (ChatSide("", "checkpoint", run="none"), "none"),
        (ChatSide("", "checkpoint", remedy="interpolate-0.4"), "no remedy 'interpolate-0.4'"),
        (ChatSide("", "gguf", path="x.gguf"), "path is 'x.gguf', which is not an absolute path"),
        (ChatSide("", "endpoint", url="nowhere"), "the endpoint 'nowhere' is not an address"),
    ):
        with pytest.raises(FinetopError, match=why):
            open_chat(rig, name, side)
    with pytest.raises(FinetopError, match="at most 2 sides, not 3"):
        open_chat(rig, name, *[ChatSide("", "base")] * 3)


def test_a_link_in_place_of_its_asks_is_told_in_one_line_and_not_written_through(rig, tmp_path):
    name = rig.submit(steps=1, saved=[1])
    rig.wait_state(name, "finished")
    opened = rig.ask(
        messages.OpenChat(name, [ChatSide("far", "endpoint", url="http://127.0.0.1:9", model="m")])
    )
    job = next(job for job in rig.ask(GetRun(name)).jobs if job.id == opened.job_id)
    asks = rig.home.root / rig.ask(GetRun(name)).folder / job.folder / "asks.jsonl"
    asks.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "other").touch()
    asks.symlink_to(tmp_path / "other")
    with pytest.raises(FinetopError, match=r"asks\.jsonl: .*symbolic links\.$"):
        rig.ask(messages.AskChat(name, opened.job_id, 1, "Hi", messages.ChatSettings()))
    assert (tmp_path / "other").read_bytes() == b""
    rig.ask(messages.CloseChat(name, opened.job_id))


def test_the_system_prompt_of_training_is_sent_unless_another_is_given(rig, tmp_path):
    rows = tmp_path / "rows.jsonl"
    turns = [{"role": role, "content": role.upper()} for role in ("system", "user", "assistant")]
    rows.write_text(f"{json.dumps({'messages': turns})}\n" * 3)
    recipe, text = rig.recipe(None, {"steps": 1, "saved": [1]})
    train = [{**recipe["data"]["train"][0], "path": str(rows), "id": None}]
    recipe |= {"data": {**recipe["data"], "train": train}, "ask": {**recipe["ask"], "system": "Be brief."}}
    name = rig.ask(Submit(recipe, text, "fake")).name
    rig.wait_state(name, "finished")
    with chat_server(says("ok")) as server:
        chat = open_chat(rig, name, endpoint(server.url))
        assert chat.opened.system == "Be brief.\n\nSYSTEM"
        for number, how in enumerate(({}, {"system": ""}, {"system": "Else."}), 1):
            chat.ask(number, "Hi", fresh=True, **how)
        chat.until("end", 3)
        systems = [asked["messages"][0] for asked in server.asked]
        assert [turn["content"] for turn in systems] == [chat.opened.system, "Hi", "Else."]
        prompts = [line for line in chat.lines if line.kind == "prompt"]
        assert [line.settings.system for line in prompts] == [chat.opened.system, "", "Else."]
        rig.ask(messages.CloseChat(*chat.chat))


def test_one_side_is_stopped_alone_and_the_second_may_begin(rig):
    name = rig.submit(steps=1, saved=[1])
    rig.wait_state(name, "finished")
    with chat_server(never_ends()) as server, chat_server(never_ends()) as other:
        chat = open_chat(rig, name, endpoint(server.url), endpoint(other.url, "near"))
        chat.ask(1, "Go on", max_new_tokens=30_000, first=1)
        wait_until(lambda: chat.read() is not None and chat.text(1, 0) and chat.text(1, 1), str(chat.lines))
        rig.ask(messages.StopAnswers(*chat.chat, 1))
        assert [line.side for line in chat.until("end", 1)] == [1], "the other goes on"
        rig.ask(messages.StopAnswers(*chat.chat, 0))
        assert [line.side for line in chat.until("end", 1, 2)] == [1, 0]
        rig.ask(messages.CloseChat(*chat.chat))


def test_a_checkpoint_without_its_weights_is_refused_before_anything_is_loaded(rig):
    name = rig.submit(steps=2, saved=[1, 2])
    rig.wait_state(name, "finished")
    for weights in (rig.home.root / rig.ask(GetRun(name)).folder).glob("checkpoints/*/weights"):
        weights.unlink()
    with pytest.raises(
        FinetopError, match=r"step 2 of fake can't be used: 'weights' is missing\. Pick another"
    ):
        open_chat(rig, name)
    assert rig.ask(Earlier(name)).unseen == 0, "nor does a bisection count it"
