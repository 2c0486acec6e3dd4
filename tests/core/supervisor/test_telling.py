"""Notifications by a command and by a webhook; hangs, floods, refusals and secrets."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import waiting
from hook import serving
from store_rows import take_in

from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.session import SendTest
from finetop.core.runtime.secrets import is_secret_name
from finetop.core.store import notices
from finetop.core.store.database import transaction
from finetop.core.supervisor import watch_settings
from finetop.core.supervisor.notify import compose, deliver, webhook
from finetop.core.supervisor.notify.send import PASSED_ON
from finetop.core.supervisor.notify.webhook import SameHost
from finetop.core.supervisor.requests import dispatch

WRITES = 'cat >> {out}\nenv | sort > {out}.env\necho "$0 $#" > {out}.argv\n'


@pytest.fixture
def told(quiet, tmp_path):
    """A home whose messages go to a file, by a command."""
    out = tmp_path / "out.jsonl"
    program(tmp_path / "notify", WRITES.format(out=out))
    settings(quiet, "command: [NOTIFY]", out)
    return out


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o700)
    return path


def settings(quiet, tell: str, out: Path = Path()) -> None:
    """Set what is told; NOTIFY is the command that writes to a file."""
    tell = tell.replace("NOTIFY", str(out.parent / "notify"))
    (quiet.home.root / "settings.yaml").write_text(
        f"settings: 1\ntell: {{{tell}}}\n" if tell else "settings: 1\n"
    )
    quiet.supervisor.settings_seen = ()
    watch_settings.read(quiet.supervisor)
    assert quiet.supervisor.settings_fault == ""


def alarms(quiet, run_id: int, count: int = 1, kind: str = "spike") -> None:
    """Let a run's job raise alarms, and ingest them."""
    (kept, job), *_ = quiet.rows(
        "SELECT r.folder, j.id FROM runs r JOIN jobs j ON run_id = r.id AND r.id = ?", run_id
    )
    raised = (events.Alarm(kind, step, f"{kind}: the loss rose at {step}") for step in range(1, count + 1))
    take_in(quiet.supervisor.connection, job, quiet.home.root / kept / "events.jsonl", *raised)
    quiet.supervisor.touch()


async def until(quiet, is_so, now=None) -> None:
    """Let the supervisor send messages until a condition holds."""
    await waiting.until(lambda: is_so() or deliver.update(quiet.supervisor, now or time.time()))


async def settled(quiet, now=None) -> None:
    """Let the supervisor send messages until no notice or message waits."""
    left = (
        "SELECT (SELECT count(*) FROM notices WHERE NOT told), count(*) FROM messages WHERE outcome IS NULL"
    )
    await until(quiet, lambda: quiet.rows(left) == [(0, 0)], now)


async def send(quiet, way="webhook", body="{}") -> tuple[bool, str]:
    return await deliver.send(quiet.supervisor.settings.tell, way, body)


def messages(quiet) -> list[tuple[str, int]]:
    """List the kinds of messages made, each with its number of further notices."""
    messages = [json.loads(body) for (body,) in quiet.rows("SELECT body FROM messages ORDER BY made, id")]
    return [(message["kind"], message["more"]) for message in messages]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


async def test_a_command_gets_the_alarm_on_its_standard_input_and_nothing_else(quiet, told, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    run = quiet.queue("one")
    # nobody is told where nothing is set, and later of nothing that was
    settings(quiet, "")
    alarms(quiet, run)
    deliver.update(quiet.supervisor, time.time())
    assert (quiet.rows("SELECT told FROM notices"), quiet.rows("SELECT * FROM messages")) == ([(True,)], [])
    settings(quiet, "command: [NOTIFY]", told)
    alarms(quiet, run)
    await settled(quiet)
    (message,) = lines(told)
    number = quiet.rows("SELECT max(id) FROM notices")[0][0]
    assert message | {"host": "", "time": ""} == {
        "finetop": 1, "id": str(number), "home": str(quiet.home.root), "host": "", "run": "one", "run_id": run,
        "kind": "spike", "step": 1, "text": "one: spike: the loss rose at 1", "time": "", "more": 0,
    }  # fmt: skip
    assert "canary" not in Path(f"{told}.env").read_text()
    assert Path(f"{told}.argv").read_text().split()[1] == "0"
    assert quiet.rows("SELECT way, tries, outcome FROM messages") == [("command", 1, "")]


async def test_only_kinds_that_are_asked_for_are_told(quiet, told):
    settings(quiet, "on: [nan, finished], command: [NOTIFY]", told)
    run = quiet.queue("one")
    alarms(quiet, run)
    alarms(quiet, quiet.queue("two"), kind="nan")
    with transaction(quiet.supervisor.connection):
        notices.add_ending(quiet.supervisor.connection, 1, data.Finished(1.0, 2.0))
        notices.add_ending(quiet.supervisor.connection, 2, data.Stopped(2.0, "stop"))
    quiet.supervisor.touch()
    await settled(quiet)
    assert [(event["run"], event["kind"], event["text"]) for event in lines(told)] == [
        ("two", "nan", "two: nan: the loss rose at 1"), ("one", "finished", "one: finished"),
    ]  # fmt: skip


async def test_a_command_that_hangs_is_ended_with_all_it_started_and_the_supervisor_goes_on(quiet, tmp_path):
    pids = tmp_path / "pids"
    text = f"setsid sh -c 'echo $$ >> {pids}; sleep 600' &\necho begins\necho $$ >> {pids}\nsleep 600\n"
    script = program(tmp_path / "hangs", text)
    alarms(quiet, quiet.queue("one"))
    tries, went_on = 0, False
    for limit_s in (1, 5, 25, 125):  # on a busy machine neither may have had time to begin within the first
        settings(quiet, f"command: [{script}], limit_s: {limit_s}")
        quiet.supervisor.connection.execute("UPDATE messages SET due = 0")
        quiet.supervisor.teller.looked.clear()
        pids.unlink(missing_ok=True)
        tries += 1
        while quiet.rows("SELECT tries FROM messages") != [(tries,)] or quiet.supervisor.teller.on_their_way:
            deliver.update(quiet.supervisor, time.time())
            went_on |= any(map(lives, pids_in(pids)))  # it never waited for the command
            await asyncio.sleep(0.02)
        if len(started := pids_in(pids)) == 2:
            break
    assert len(started) == 2
    await waiting.until(lambda: not any(map(lives, started)), "both are gone")
    assert went_on
    assert quiet.rows("SELECT tries, outcome FROM messages") == [(tries, None)]


def pids_in(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False


async def test_what_a_command_says_at_its_end_is_in_the_log(quiet, tmp_path, capsys):
    text = "yes chatter | head -c 300000\nprintf '\\033[2Jno such host\\n'\nexit 3\n"
    script = program(tmp_path / "fails", text)
    settings(quiet, f"command: [{script}]")
    alarms(quiet, quiet.queue("one"))
    await until(quiet, lambda: "not sent" in capsys.readouterr().err)
    is_through, said = await send(quiet, "command")
    assert is_through is False
    assert said.endswith("no such host\nit ended with code 3")
    assert len(said) <= deliver.SAID


async def test_what_comes_soon_after_waits_and_is_told_as_one(quiet, told):
    run, began = quiet.queue("one"), time.time()
    alarms(quiet, run, 1)
    await until(quiet, lambda: len(lines(told)) == 1)
    alarms(quiet, run, 5)
    alarms(quiet, run, 1, kind="nan")  # of another kind: at once
    await until(quiet, lambda: len(lines(told)) == 2)
    assert quiet.rows("SELECT count(*) FROM notices WHERE NOT told") == [(5,)]
    later = quiet.supervisor.teller.gather_at
    assert began + 300 <= later <= time.time() + 300
    deliver.update(quiet.supervisor, time.time())
    assert messages(quiet) == [("spike", 0), ("nan", 0)]
    await settled(quiet, later + 1)  # though nothing else is new by then
    assert messages(quiet) == [("spike", 0), ("nan", 0), ("spike", 4)]
    assert len(lines(told)) == 3
    # a flood of one run is one message
    flood = quiet.queue("flood")
    alarms(quiet, flood, 10_000)
    await settled(quiet)
    message = lines(told)[-1]
    assert (message["run"], message["step"], message["more"]) == ("flood", 10_000, 9999)
    assert message["text"] == "flood: spike: the loss rose at 10000 (and 9999 more)"
    assert quiet.rows("SELECT count(*) FROM notices")[0][0] <= notices.KEPT + 1
    assert quiet.rows("SELECT count(*) FROM alarms WHERE run_id = ?", flood) == [(10_000,)]


async def test_a_night_in_which_all_fails_is_ten_messages_and_one_that_nobody_takes_is_given_up(quiet, told):
    now = time.time()
    for number in range(15):
        alarms(quiet, quiet.queue(f"run-{number}"))
    compose.gather(quiet.supervisor, now)
    sent = [json.loads(body) for (body,) in quiet.rows("SELECT body FROM messages ORDER BY made, id")]
    assert [one["run"] for one in sent] == [f"run-{number}" for number in range(9)] + [None]
    assert sent[-1]["text"] == "and 6 more of 6 runs: 6 spike"
    assert (sent[-1]["kind"], sent[-1]["more"]) == ("many", 6)
    alarms(quiet, quiet.queue("late"))
    compose.gather(quiet.supervisor, now + 20)
    assert len(messages(quiet)) == 10
    assert quiet.supervisor.teller.gather_at == pytest.approx(now + 60)
    assert quiet.rows("SELECT outcome FROM messages") == [(None,)] * 10
    compose.gather(quiet.supervisor, now + 2 * compose.OLD_S)
    assert (
        quiet.rows("SELECT outcome FROM messages WHERE outcome IS NOT NULL")
        == [("it waited for too long",)] * 10
    )


async def test_in_quiet_hours_nothing_is_told_and_all_of_it_afterwards(quiet, told):
    hours = {"from": time.strftime("%H:%M", time.localtime(time.time() - 600)),
             "to": time.strftime("%H:%M", time.localtime(time.time() + 7200))}  # fmt: skip
    settings(quiet, f"command: [NOTIFY], quiet: {json.dumps(hours)}", told)
    run = quiet.queue("one")
    alarms(quiet, run, 3)
    deliver.update(quiet.supervisor, time.time())
    assert quiet.rows("SELECT count(*) FROM messages") == [(0,)]
    compose.gather(quiet.supervisor, quiet.supervisor.teller.gather_at + 1)
    assert messages(quiet) == [("spike", 2)]


async def test_a_webhook_is_posted_json_and_tried_again_under_the_same_id(quiet, monkeypatch):
    monkeypatch.setattr(deliver, "AGAIN_S", (0.05, 0.05, 0.05))
    with serving() as hook:
        hook.answers = [500, 503, 200]
        settings(quiet, f"webhook: {{url: '{hook.address}'}}")
        alarms(quiet, quiet.queue("one"))
        await settled(quiet)
    assert len({one["id"] for one in hook.got}) == 1
    assert [one["text"] for one in hook.got] == ["one: spike: the loss rose at 1"] * 3
    assert hook.heads[0]["Content-Type"] == "application/json"
    assert quiet.rows("SELECT tries, outcome FROM messages") == [(3, "")]


async def test_a_webhook_that_never_works_is_given_up_and_the_other_way_goes_on(quiet, told, monkeypatch):
    monkeypatch.setattr(deliver, "AGAIN_S", (0.05, 0.05))
    with serving() as hook:
        hook.answers, hook.body = [403], b"no " + b"x" * 10_000_000
        settings(quiet, f"command: [NOTIFY], webhook: {{url: '{hook.address}'}}", told)
        alarms(quiet, quiet.queue("one"))
        await settled(quiet)
    assert len(lines(told)) == 1
    assert len(hook.got) == 3
    ways = {one.way: one for one in notices.outcomes(quiet.supervisor.connection)}
    assert (ways["command"].sent, ways["webhook"].given_up) == (1, 1)
    assert ways["webhook"].why.startswith("127.0.0.1 answered 403 Forbidden: no xxx")
    assert len(ways["webhook"].why) < 400


async def test_a_redirect_to_another_host_is_refused_and_to_the_same_is_followed(quiet):
    with serving() as hook, serving() as other:
        settings(quiet, f"webhook: {{url: '{hook.address}'}}")
        hook.answers, hook.location = [302, 200], other.address
        is_through, said = await send(quiet, body='{"a": 1}')
        assert (is_through, other.got) == (False, [])
        assert "it redirects to another host" in said
        for code in (301, 302, 307, 308):  # in this process: the other one would take 0.15 s each time
            hook.answers, hook.location, hook.got = [code, 200], f"{hook.address}/moved", []
            assert await asyncio.to_thread(webhook.post, hook.address, '{"a": 1}', 20.0) == ""
            assert hook.got == [{"a": 1}, {"a": 1}]
            hook.answers, hook.location = [code, 200], other.address
            said = await asyncio.to_thread(webhook.post, hook.address, '{"a": 1}', 20.0)
            assert "it redirects to another host" in said and other.got == []


def test_a_redirect_leads_to_no_other_host_port_or_scheme():
    for to, is_followed in (
        ("https://localhost:9/b", True),
        ("http://localhost:9/b", False),
        ("https://localhost:8/b", False),
        ("https://localhost.evil.example:9/b", False),
        ("https://user@localhost:9/b", False),
        ("file:///etc/passwd", False),
    ):
        asked = urllib.request.Request("https://localhost:9/a", data=b"{}", method="POST")
        if is_followed:
            again = SameHost().redirect_request(asked, None, 307, "", {}, to)
            assert (again.full_url, again.data, again.get_method()) == (to, b"{}", "POST")
        else:
            with pytest.raises(urllib.error.HTTPError, match="another host"):
                SameHost().redirect_request(asked, None, 307, "", {}, to)


async def test_a_server_that_does_not_answer_is_left_after_the_limit(quiet):
    with serving() as hook:
        hook.may_answer.clear()
        settings(quiet, f"webhook: {{url: '{hook.address}'}}, limit_s: 1")
        is_through, said = await send(quiet)
        hook.may_answer.set()  # only now
    assert not is_through
    assert said in ("127.0.0.1: timed out", "it took longer than 1 s")


async def test_a_certificate_that_nobody_trusts_is_refused(quiet, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    process = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = socket.create_server(("127.0.0.1", 0))

    def handshake() -> None:
        link, _ = server.accept()
        with link, contextlib.suppress(OSError):
            context.wrap_socket(link, server_side=True).close()

    thread = threading.Thread(target=handshake, daemon=True)
    thread.start()
    settings(quiet, f"webhook: {{url: 'https://localhost:{server.getsockname()[1]}/x'}}")
    is_through, said = await send(quiet)
    thread.join()
    server.close()
    assert not is_through
    assert said == "localhost: its certificate is not trusted: self-signed certificate"


async def test_an_address_of_a_file_or_a_variable_stands_nowhere_else(quiet, tmp_path, monkeypatch, capsys):
    secret = "/services/T0123456789/B0123456789/abcdefghijklmnopqrstuvwx"
    with serving(secret) as hook:
        (quiet.home.root / "webhook.txt").write_text(hook.address + "\n")
        (quiet.home.root / "webhook.txt").chmod(0o600)
        settings(quiet, "webhook: {url_file: webhook.txt}")
        alarms(quiet, quiet.queue("one"))
        await settled(quiet)
        monkeypatch.setenv("FINETOP_WEBHOOK", hook.address)
        settings(quiet, "webhook: {url_env: FINETOP_WEBHOOK}")
        hook.answers = [404]
        is_through, said = await send(quiet)
        assert not is_through
        alarms(quiet, quiet.queue("two"))
        await until(quiet, lambda: len(hook.got) == 3 and not quiet.supervisor.teller.on_their_way)
    quiet.supervisor.connection.execute("CHECKPOINT")
    kept = quiet.home.database.read_bytes() + capsys.readouterr().err.encode() + said.encode()
    assert b"abcdefghijklmnop" not in kept


async def test_a_file_or_a_variable_that_holds_no_address_is_named(quiet, monkeypatch):
    file = quiet.home.root / "webhook.txt"
    settings(quiet, "webhook: {url_file: webhook.txt}")
    for text, mode, says in (
        (None, 0, "can't be read: No such file or directory"),
        ("https://example.org/x", 0o644, "holds a secret, but others can read it. chmod 600 "),
        ("ftp://example.org/x", 0o600, "must hold an address that begins with https://"),
        ("http://example.org/x", 0o600, "must hold an address that begins with https://"),
    ):
        if text is not None:
            file.write_text(text)
            file.chmod(mode)
        is_through, said = await send(quiet)
        assert not is_through
        assert says in said
        assert "example" not in said
    monkeypatch.delenv("FINETOP_WEBHOOK", raising=False)
    settings(quiet, "webhook: {url_env: FINETOP_WEBHOOK}")
    is_through, said = await send(quiet)
    assert not is_through
    assert said.startswith("tell.webhook: the supervisor has no variable FINETOP_WEBHOOK.")


async def test_a_test_message_goes_all_ways_and_says_what_came_of_it(quiet, told):
    with serving() as hook:
        settings(quiet, f"command: [/no/such/program], webhook: {{url: '{hook.address}'}}")
        found = await dispatch.answer(quiet.supervisor, SendTest())
    assert [(one.way, one.is_through, one.output) for one in found.tested] == [
        ("command", False, "/no/such/program: No such file or directory"), ("webhook", True, "taken"),
    ]  # fmt: skip
    assert (hook.got[0]["kind"], hook.got[0]["run"]) == ("test", None)
    settings(quiet, "")
    assert (await dispatch.answer(quiet.supervisor, SendTest())).tested == []


def test_the_environment_that_is_passed_on_names_no_secrets():
    assert not [name for name in PASSED_ON if is_secret_name(name)]
    assert "HF_TOKEN" not in PASSED_ON and os.environ.get("PATH")
