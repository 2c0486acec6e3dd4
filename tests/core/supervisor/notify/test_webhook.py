"""Where a webhook message is sent: to no proxy unless the settings say so, and never for a near host."""

import socket

import pytest
from hook import serving

from finetop.core.recipe.home_settings import Tell, Webhook
from finetop.core.supervisor.notify import deliver, webhook

PROXY = ("proxy.example", 3128)
NAMES = {
    "lab": ["192.168.1.7"],
    "build.corp": ["8.8.4.4", "10.1.2.3"],  # inside and outside
    "v6.corp": ["fd00::5"],
    "chat.example": ["8.8.4.4"],
}


@pytest.fixture
def dialled(monkeypatch):
    """The hosts that `post` connects to, with a proxy in the environment; nothing answers."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{PROXY[0]}:{PROXY[1]}")
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    usual, seen = socket.getaddrinfo, []

    def resolve(host, *rest, **named):
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        found = NAMES.get(host, [host])
        return [info for address in found for info in usual(address, *rest, **named)]

    def dial(address, *_, **__):
        seen.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", dial)
    return seen


NEAR = [
    *("http://localhost:8080/x", "http://127.0.0.1:8080/x", "http://[::1]:8080/x", "https://127.9.9.9/x"),
    *("https://10.0.0.1/x", "https://192.168.0.9/x", "https://172.16.5.5/x", "https://169.254.1.1/x"),
    *("https://[fe80::1]/x", "https://[fd12::1]/x", "https://[::ffff:10.0.0.1]/x", "https://a.localhost/x"),
    *("https://lab/x", "https://build.corp/x", "https://v6.corp/x", "https://100.64.0.1/x"),
]


@pytest.mark.parametrize("proxy", [False, True])
def test_what_is_near_is_dialled_itself_whatever_proxy_there_is(dialled, proxy):
    for address in NEAR:
        assert webhook.post(address, "{}", 1.0, proxy=proxy)
        assert dialled.pop() != PROXY, address
        assert dialled == []


def test_what_is_far_goes_through_a_proxy_only_where_the_settings_say_so(dialled):
    for address in ("https://chat.example/x", "https://8.8.4.4/x", "https://unknown.example/x"):
        webhook.post(address, "{}", 1.0)
        assert dialled.pop() != PROXY
        webhook.post(address, "{}", 1.0, proxy=True)
        assert (dialled.pop(), dialled) == (PROXY, [])


@pytest.mark.parametrize("proxy", [False, True])
async def test_a_message_to_this_machine_never_reaches_a_proxy(monkeypatch, proxy):
    monkeypatch.delenv("no_proxy", raising=False)
    with serving() as hook, serving() as other:
        monkeypatch.setenv("http_proxy", other.address)
        tell = Tell(webhook=Webhook(url=hook.address, proxy=proxy))
        assert await deliver.send(tell, "webhook", '{"a": 1}') == (True, "taken")
        assert (hook.got, other.got) == ([{"a": 1}], [])
