"""Endpoints that answer, and those that hang, lie or refuse: each is one clear line."""

import json
import threading

import pytest
from chat_server import DONE, chat_server, event, hangs, never_ends, says, sends

from finetop.core.data.formats import Message
from finetop.core.errors import BadInput
from finetop.core.features.chat.messages import ChatSettings
from finetop.core.features.chat.sides import Request, endpoint
from finetop.core.features.chat.sides.endpoint import EndpointWriter, Trouble, address_of
from finetop.core.runtime.secrets import require_sendable

KEY = "sk-test-0123456789"


def ask(url, *, key="", model="m", stop_at=None, **settings):
    """Return how an answer ended, and its pieces; it is stopped once it has `stop_at` pieces."""
    pieces = []
    request = Request(
        [Message("user", "Hi")],
        ChatSettings(**settings),
        pieces.append,
        lambda: stop_at is not None and len(pieces) >= stop_at,
    )
    return EndpointWriter(address_of(url), model, key, "MY_KEY" if key else "").answer(request), pieces


def test_what_a_server_answers_well():
    whole = json.dumps({"choices": [{"message": {"content": "Whole."}, "finish_reason": "length"}]})
    cut = sends(event("a"), event("", finish_reason="length"), DONE)
    noisy = sends(b": ping\n\n", b"event: x\n", event("Grüße"), b"\n", DONE)
    plain = sends(whole.encode(), kind="application/json; charset=utf-8")
    with chat_server(says("Hello", " you"), cut, plain, noisy, says("x")) as server:
        answered, pieces = ask(server.url, key=KEY, temperature=0.5, top_p=0.9, seed=7, max_new_tokens=9)
        assert (answered.why, answered.tokens, pieces) == ("end", 2, ["Hello", " you"])
        assert server.keys == [f"Bearer {KEY}"]
        assert server.asked[0] == {
            "path": "/v1/chat/completions", "model": "m", "stream": True, "temperature": 0.5, "top_p": 0.9,
            "seed": 7, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
        }  # fmt: skip
        assert [ask(server.url)[0].why for _ in range(2)] == ["length", "length"]
        assert ask(server.url)[1] == ["Grüße"]
        ask(f"{server.url}/chat/completions", model="", raw=True)
    assert server.asked[-1]["path"] == "/v1/completions"
    assert (server.asked[-1]["model"], server.asked[-1]["prompt"]) == ("only-model", "Hi")


@pytest.mark.parametrize(("answer", "says_what"), [
    (sends(b"<html>hi</html>", kind="text/html"), "answers with a web page. Is it the address of the API"),
    (sends(b'{"error": {"message": "bad ' + KEY.encode() + b'"}}', status=401), r"refuses the key \(401\): bad …"),
    (sends(b"<html>", status=502, kind="text/html"), "answers 502 Bad Gateway.$"),
    (sends(b'{"detail": "no m"}', status=404), r"has no such page or model \(404\): no m. Give the base"),
    (sends(event("a"), b"data: {broken\n\n"), "sent what is not JSON: {broken"),
    (sends(event("a"), b'data: {"error": {"message": "out of memory"}}\n\n'), "out of memory"),
    (sends(event("a")), "broke off in the middle"),
    (sends(event("a"), b'data: {"choices": [{"del'), "broke off in the middle"),
    (sends(b"data: " + b"x" * (1 << 20)), "a line longer than 1 MiB"),
])  # fmt: skip
def test_what_a_server_answers_wrongly(answer, says_what):
    with chat_server(answer) as server, pytest.raises(Trouble, match=says_what) as raised:
        ask(server.url, key=KEY)
    assert KEY not in str(raised.value)


def echoes(status_line: str, *headers: str):
    """Return an answer of a status line and headers as they are."""
    head = "\r\n".join(
        [f"HTTP/1.1 {status_line}", *headers, "Content-Length: 0", "Connection: close", "", ""]
    )
    return lambda handler: handler.wfile.write(head.encode())


@pytest.mark.parametrize("answer", [
    echoes("302 Found", f"Location: http://other/{KEY}"),
    echoes("302 Found", "Location: http://" + "x" * 140 + KEY),  # cut in the middle of it
    echoes(f"500 {KEY}"),
    echoes("500 " + "x" * 30 + KEY),
])  # fmt: skip
def test_a_key_that_a_server_repeats_is_in_no_message(answer):
    with chat_server(answer) as server, pytest.raises(Trouble) as raised:
        ask(server.url, key=KEY)
    assert KEY[:6] not in str(raised.value)


@pytest.mark.parametrize("end", ["\r", "\n", " ", "\x00", "é"])
def test_a_key_with_a_character_that_no_header_has_is_refused_without_being_repeated(end):
    with pytest.raises(BadInput, match="the key in MY_KEY has the character") as raised:
        require_sendable("MY_KEY", KEY + end)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("count", [True, -5, 10**26, 1.5, "7", None])
def test_a_count_that_is_none_counts_as_0(count):
    usage = {"prompt_tokens": count, "completion_tokens": count}
    whole = json.dumps({"choices": [{"message": {"content": "Whole."}}], "usage": usage}).encode()
    streamed = json.dumps({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "usage": usage})
    pieces = sends(b"data: " + streamed.encode() + b"\n\n", DONE)
    with chat_server(sends(whole, kind="application/json"), pieces) as server:
        for _ in range(2):
            answered, _ = ask(server.url)
            assert type(answered.prompt_tokens) is int and answered.prompt_tokens == 0 <= answered.tokens < 2


def test_a_server_that_hangs_or_never_ends(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_S", 0.2)
    monkeypatch.setattr(endpoint, "SILENT_S", 0.2)
    dripping = hangs(event("a"), b": ping\n\n")
    with chat_server(hangs(), dripping, never_ends(), never_ends(), hangs(event("a"))) as server:
        for _ in range(2):
            with pytest.raises(Trouble, match="has sent nothing for"):
                ask(server.url)
        answered, pieces = ask(server.url, max_new_tokens=5)
        assert (answered.why, answered.tokens, len(pieces)) == ("length", 5, 5)
        assert ask(server.url, stop_at=2)[0].why == "stopped"
        monkeypatch.setattr(endpoint, "SILENT_S", 60.0)
        answered, pieces = ask(server.url, stop_at=1)
        assert (answered.why, answered.tokens, answered.prompt_tokens, pieces) == ("stopped", 1, 0, ["a"])
        monkeypatch.setattr(endpoint, "FIRST_S", 60.0)
        assert ask(server.url, stop_at=0)[0].why == "stopped"
    assert threading.active_count() < 20


def test_addresses():
    with pytest.raises(Trouble, match="connection refused"):
        ask("http://127.0.0.1:9/v1")
    for url, why in (
        ("localhost:8000", "is not an address"),
        ("ftp://host/v1", "is not an address"),
        ("http://host:99999", "is not an address"),
        ("https://me:secret@host/v1", "seems to hold a key"),
        ("https://host/v1?key=secret", "seems to hold a key"),
    ):
        with pytest.raises(BadInput, match=why):
            address_of(url)
