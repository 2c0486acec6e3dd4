"""`finetop ask` and `finetop chat` as typed: answers on stdout, all else on stderr, bad input in one line."""

import io
import json
from argparse import Namespace

import pytest
from chat_server import chat_server, never_ends, says, sends
from waiting import wait_until

from finetop.core.features.chat import command_line as shared_chat
from finetop.core.features.chat.client import Chat
from finetop.core.features.chat.commands import ask as ask_command, chat as chat_command
from finetop.core.features.chat.messages import ChatOpened, ChatSettings, ChatSide
from finetop.core.protocol.messages.runs import GetRun


@pytest.fixture
def name(rig):
    run = rig.submit(steps=4, saved=[2, 4])
    rig.wait_state(run, "finished")
    return run


def chats_of(rig, name):
    return [job for job in rig.ask(GetRun(name)).jobs if job.verb == "chat"]


@pytest.mark.slow
def test_ask_prints_an_answer_and_closes_its_chat(rig, finetop, name, tmp_path, monkeypatch):
    broken = sends(b'{"error": {"message": "no such model"}}', status=404)
    texts = [says("Good", " day"), says("One"), says("Two\n"), says("x"), broken]
    with chat_server(*texts) as server:
        monkeypatch.setenv("MY_KEY", "sk-of-a-test")
        far = ("--endpoint", server.url, "--endpoint-model", "m", "--key-env", "MY_KEY")
        assert finetop("ask", name, "Hi", *far, "--system", "Be brief.")[:2] == (0, "Good day\n")
        assert server.keys == ["Bearer sk-of-a-test"]
        assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
        file = tmp_path / "prompts.jsonl"
        row = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "B"}]}
        file.write_text('{"prompt": "A"}\n\n' + json.dumps(row) + "\n")
        code, out, _ = finetop("ask", name, "--file", str(file), *far)
        rows = [json.loads(line) for line in out.splitlines()]
        assert code == 0 and [row["prompt"] for row in rows] == ["A", "B"]
        assert [row["answers"][0]["text"] for row in rows] == ["One", "Two\n"]
        assert [turn["content"] for turn in server.asked[2]["messages"]] == ["S", "B"]  # no turns before it
        code, out, _ = finetop("ask", name, "Hi", *far, "--json")
        answer = json.loads(out)
        assert (answer["schema"], answer["run"], answer["answers"][0]["why"]) == (1, name, "end")
        code, out, err = finetop("ask", name, "Hi", *far)
        assert (code, out) == (1, "") and "finetop: m: " in err and "(404): no such model" in err
    wait_until(lambda: not any(job.is_under_way for job in chats_of(rig, name)), "all are closed")
    assert len(chats_of(rig, name)) == 4


def test_what_the_reader_must_know_of_a_side_stands_above_the_answers_and_beside_them_in_json(capsys):
    sides = [ChatSide("base", "base"), ChatSide("tuned", "checkpoint")]
    chat = Chat(None, ChatOpened(1, "bad", sides, notices=["", "its weights changed."]))
    shared_chat.print_sent(chat, ChatSettings())
    answers = [ask_command.Answer(side.label) for side in sides]
    for asked in ({"file": None, "json": True}, {"file": "x", "json": False}):
        ask_command.report(Namespace(**asked), chat, ask_command.Asked("Hi"), answers)
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "warning: its weights changed."
    whole, end = json.JSONDecoder().raw_decode(out)
    for document in (whole, json.loads(out[end:])):
        assert document["notices"] == ["its weights changed."]


@pytest.mark.slow
def test_chat_line_by_line(rig, finetop, name, monkeypatch):
    with chat_server(says("Hello"), says("Yes"), says("New")) as one, chat_server(says("Two")) as two:
        sides = [
            chat_command.ChatSide("one", "endpoint", url=one.url, model="m"),
            chat_command.ChatSide("two", "endpoint", url=two.url, model="m"),
        ]
        monkeypatch.setattr(chat_command, "sides_of", lambda args, home: sides)
        monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\nAnd?\n/hepl\n/new\nAgain\n/quit\nnever\n"))
        code, out, err = finetop("chat", name)
    assert (code, out) == (0, "".join(f"one:\n{text}\n\ntwo:\nTwo\n" for text in ("Hello", "Yes", "New")))
    assert "one and two of fake. /new begins" in err
    assert "there is no command /hepl: /new begins" in err
    assert [len(asked["messages"]) for asked in one.asked] == [1, 3, 1]
    wait_until(lambda: not any(job.is_under_way for job in chats_of(rig, name)), "it is closed")


@pytest.mark.slow
def test_two_chats_line_by_line_do_not_end_each_other(rig, finetop, name, monkeypatch):
    """The second is opened, used and closed while the first waits for its next prompt."""
    with chat_server(says("One"), says("Two"), says("Three")) as server:
        sides = [chat_command.ChatSide("far", "endpoint", url=server.url, model="m")]
        monkeypatch.setattr(chat_command, "sides_of", lambda args, home: sides)
        second = []

        def typed():
            yield "Hi"
            monkeypatch.setattr(chat_command, "prompts", lambda: iter(["Hello"]))
            second.append(finetop("chat", name, "--plain")[:2])
            yield "Again"

        monkeypatch.setattr(chat_command, "prompts", typed)
        code, out, err = finetop("chat", name, "--plain")
    assert (code, out) == (0, "Three\n"), err
    assert second == [(0, "One\nTwo\n")]  # both print to one terminal


def test_ctrl_c_stops_an_answer_and_again_ends_the_chat(rig, finetop, name, monkeypatch):
    presses = []
    read = Chat.read

    def interrupted(chat, wait_s=10.0):
        """Read; ctrl+c is pressed once there is text of the first prompt, and twice at the third."""
        lines = read(chat, wait_s)
        of_now = [line for line in lines if line.kind == "text" and line.number == chat.number]
        if of_now and (chat.number, len(presses)) in ((1, 0), (3, 1), (3, 2)):
            presses.append(chat.number)
            raise KeyboardInterrupt
        return lines

    monkeypatch.setattr(Chat, "read", interrupted)
    with chat_server(never_ends("a "), says("Yes"), never_ends("b ")) as server:
        side = chat_command.ChatSide("one", "endpoint", url=server.url, model="m")
        monkeypatch.setattr(chat_command, "sides_of", lambda args, home: [side])
        monkeypatch.setattr("sys.stdin", io.StringIO("Go on\nReally?\nOn\nnever\n"))
        code, out, _ = finetop("chat", name, "--max-new-tokens", "30000")
        assert code == 130 and "Yes\n" in out
        assert [turn["content"] for turn in server.asked[1]["messages"]][::2] == ["Go on", "Really?"]
    wait_until(lambda: not any(job.is_under_way for job in chats_of(rig, name)), "it is closed")


def test_bad_input_is_one_line(rig, finetop, name, tmp_path, monkeypatch):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    turns = tmp_path / "turns.jsonl"
    turns.write_text(json.dumps([{"role": "user", "content": "a"}]) + "\n")
    turns.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}] * 2}) + "\n")
    monkeypatch.delenv("MY_KEY", raising=False)
    url = "http://localhost:1/v1"
    for words, says_what in (
        (("ask", name), 'no prompt is given. finetop ask fake "…", or --file prompts.jsonl.'),
        (("ask", name, " "), "the prompt is empty."),
        (("ask", name, "a", "--file", str(file)), "a prompt and --file are both given."),
        (("ask", name, "--file", str(file)), f"{file}:2: a row of text has no prompt."),
        (("ask", name, "--file", str(turns)), f"{turns}:1: it has 2 turns before the answer."),
        (("ask", name, "--file", str(tmp_path / "none")), "no such file or directory"),
        (("ask", "none", "a"), "no run 'none'"),
        (("ask", name, "a", "--step", "3"), "this run has no checkpoint at step 3. It has 2, 4."),
        (("ask", f"{name}@2", "a", "--step", "4"), "fake@2 and --step 4 name two steps."),
        (("ask", name, "a", "--temperature", "9"), "--temperature 9.0"),
        (("ask", name, "a", "--top-p", "0"), "--top-p 0.0"),
        (("ask", name, "a", "--both", "--base"), "not allowed with argument --both"),
        (("ask", name, "a", "--endpoint-model", "m"), "--endpoint-model belongs to an endpoint."),
        (("ask", name, "a", "--endpoint", "me"), "the endpoint 'me' is not an address."),
        (("ask", name, "a", "--endpoint", url, "--key-env", "MY_KEY"), "--key-env MY_KEY: this variable is not set."),
        (("ask", name, "a", "--endpoint", url, "--key-env", "sk-12"), "Give the variable's name, not the key itself."),
        (("ask", name, "a", "--both", "--gguf", "x", "--endpoint", url), "a chat has 2 sides, not 3"),
        (("chat", name, "other", "--with", "base"), "--with base and other are both given."),
        (("chat", name, "--json"), "finetop chat has no --json."),
    ):  # fmt: skip
        code, out, err = finetop(*words)
        assert (code, out) == (2, "") or "run 'none'" in err, words
        assert says_what in err and err.count("\n") == 1, (words, err)
    assert not chats_of(rig, name)
