"""The link to another machine, over a stand-in for ssh: opened, dropped, reopened, closed; and its error messages."""

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from finetop.core.client.connection import Client
from finetop.core.client.remote import tunnel
from finetop.core.client.remote.hosts import Place
from finetop.core.client.remote.tunnel import PREFIX, Tunnel
from finetop.core.errors import EnvironmentTrouble, FinetopError, NoSupervisor
from finetop.core.protocol import wire
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.session import Hello
from finetop.core.runtime.home import Home


@pytest.fixture
def lab(hosts):
    """A host with a supervisor."""
    return hosts.host("ana@lab")


@pytest.fixture
def link(hosts):
    new_tunnel = Tunnel(Place("lab", "ana@lab"), memory=hosts.folder / "sockets.json")
    yield new_tunnel
    new_tunnel.close()


def home_of(link: Tunnel) -> Home:
    return Home(Path("/there"), link)


@pytest.mark.slow
def test_the_supervisor_there_answers_here_and_nothing_is_left_at_the_end(hosts, lab, link, monkeypatch):
    name = lab.submit("there-once", steps=3)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    greeting = link.open()
    for call in hosts.calls():  # ssh is given no secret, and no option from outside
        arguments = call["words"]
        assert "hf_canary" not in " ".join(arguments)
        assert arguments[arguments.index("--") + 1 :] == ["ana@lab", "finetop supervisor start --json --hold"]
    assert greeting.socket == str(lab.home.socket)
    with Client(home_of(link)) as client:
        assert client.ask(GetRun(name)).row.name == name
        assert client.ask(Hello()).home == str(lab.home.root)
    folder = link.socket.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    link.close()
    assert not folder.exists()
    wait_until(lambda: not hosts.living(), "ssh is gone")


def test_where_the_socket_is_is_remembered_so_that_one_connection_does(hosts, lab, tmp_path):
    hosts.behave("ana@lab", "noisy")  # what login scripts print is passed over
    for expected in (2, 3):
        with_memory = Tunnel(Place("lab", "ana@lab"), memory=tmp_path / "sockets.json")
        assert with_memory.open().supervisor.protocol == wire.VERSION
        with_memory.close()
        assert len(hosts.calls()) == expected


def test_a_supervisor_is_started_where_there_is_none(hosts):
    rig = hosts.add("box", start=False)
    link = Tunnel(Place("box", "box"))
    try:
        link.open()
        with Client(home_of(link)) as client:
            assert client.ask(Hello()).home == str(rig.home.root)
    finally:
        link.close()
    assert rig.home.socket.exists()


@pytest.mark.slow
def test_a_dropped_link_comes_back_and_what_only_looks_is_asked_again_and_what_acts_is_not(hosts, lab, link):
    name = lab.submit("goes-on", waits_at=2)
    heard = []
    link._heard = lambda is_up, why: heard.append(is_up)
    link.open()
    with Client(home_of(link)) as client:
        before = client.ask(Hello()).pid
        for _ in range(2):
            hosts.drop("ana@lab")
            assert client.ask(Hello()).pid == before
        wait_until(lambda: heard == [False, True] * 2, "each drop and return is heard of")
        wait_until(lambda: len(hosts.living()) == 1, "one ssh at a time")
        hosts.drop("ana@lab")
        with pytest.raises(NoSupervisor, match="the request may or may not have been carried out"):
            client.ask(Stop(name))
    lab.kill_jobs()


@pytest.mark.slow
def test_a_host_that_is_away_is_tried_again_but_not_one_that_denies(hosts, lab, link, monkeypatch):
    link.open()
    hosts.behave("ana@lab", "refused")
    hosts.drop("ana@lab")
    wait_until(lambda: not link.is_up and "Connection refused" in link.why_down(), "it says why")
    hosts.behave("ana@lab", "ok")
    link.try_now()
    link.wait()
    assert link.is_up
    assert link.why_down() == ""

    monkeypatch.setattr(tunnel, "PAUSES_S", (0.0, 0.05))
    before = link.tries
    hosts.behave("ana@lab", "refused")
    hosts.drop("ana@lab")
    wait_until(lambda: link.tries > before + 3, "it was tried several times")
    hosts.behave("ana@lab", "ok")
    wait_until(lambda: link.is_up, "it is back, and nobody asked for it")

    hosts.behave("ana@lab", "denied")
    pauses: list[float] = []
    wait = link._wake.wait
    monkeypatch.setattr(link._wake, "wait", lambda pause_s: pauses.append(pause_s) or wait(pause_s))
    hosts.drop("ana@lab")
    with pytest.raises(NoSupervisor, match="ssh needs your input"):
        while True:
            link.wait()
    wait_until(lambda: tunnel.REFUSED_PAUSE_S in pauses, "it rests: each try would count against us")


def test_why_it_can_not_be_reached_is_said(hosts, lab):
    for mode, says in (
        ("refused", "can't reach lab: ssh: connect to host ana@lab port 22: Connection refused."),
        ("denied", "Permission denied"),
        ("resolve", "Is it spelt as in ~/.ssh/config or hosts.yaml?"),
        ("blocked", "ssh does not forward lab's socket"),
    ):
        hosts.behave("ana@lab", mode)
        assert says in why_not_open()
        wait_until(lambda: not hosts.living(), "ssh is gone")
    hosts.behave("ana@lab", "ok")
    for command, says in (
        ("no-such-program-here", "lab: its shell does not find finetop. Install it there"),
        ("sh -c 'echo finetop: argument what: invalid choice >&2; exit 2' --", "too old for this one"),
        ("sh -c 'echo finetop: the disk is gone. >&2; exit 4' --", "lab: the disk is gone"),
    ):
        assert says in why_not_open(command)


def why_not_open(*command):
    """Return the one line that says why a link can't be opened."""
    link = Tunnel(Place("lab", "ana@lab", *command))
    with pytest.raises(EnvironmentTrouble) as caught:
        link.open()
    link.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_protocol_is_refused_in_words(hosts, lab, link, monkeypatch):
    newer = r"speaks protocol 1; this one speaks 2\. Upgrade finetop there"
    for own, says in ((wire.VERSION + 1, newer), (wire.VERSION - 1, "Upgrade finetop here")):
        monkeypatch.setattr(tunnel.require_understood, "__defaults__", (own,))
        with pytest.raises(NoSupervisor, match=says):
            link.open()


def test_a_killed_program_leaves_no_ssh_and_the_next_one_clears_its_folder(hosts, lab):
    code = (
        "import time\nfrom finetop.core.client.remote.hosts import Place\n"
        "from finetop.core.client.remote.tunnel import Tunnel\n"
        "link = Tunnel(Place('lab', 'ana@lab'))\nlink.open()\nprint(link.socket.parent, flush=True)\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert hosts.living()
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not hosts.living(), "ssh ends by itself")
    assert folder.exists()
    Tunnel(Place("lab", "ana@lab")).close()
    assert not folder.exists()
    assert folder.name.startswith(f"{PREFIX}{process.pid}-")


def test_closing_while_it_connects_does_not_wait(hosts, lab, link):
    hosts.behave("ana@lab", "silent")
    link.keep()
    wait_until(lambda: bool(hosts.calls()), "ssh was started")
    link.close()
    wait_until(lambda: not link._keeper.is_alive(), "nothing waits for it any more")
    wait_until(lambda: not hosts.living(), "ssh is gone")
    with pytest.raises(FinetopError):
        link.wait()
