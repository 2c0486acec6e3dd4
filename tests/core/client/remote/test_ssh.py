"""The ssh command line: its options, the remote command, and paths that ssh would expand."""

import subprocess

import pytest

from finetop.core.client.remote import ssh
from finetop.core.client.remote.hosts import Place
from finetop.core.client.remote.tunnel import read_greeting
from finetop.core.errors import BadInput


def test_ssh_understands_every_option():
    """With -G, ssh prints the options as it resolves them, and connects to nothing."""
    there = "/home/ana/.finetop/supervisor.sock"
    program, *arguments = ssh.command(Place("lab", "ana@lab"), "/tmp/x/s", there, may_ask=False)
    command_line = [program, "-G", "-F", "/dev/null", *arguments]
    try:
        completed = subprocess.run(command_line, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no ssh here")
    assert completed.returncode == 0, completed.stderr
    assert "localforward /tmp/x/s /home/ana/.finetop/supervisor.sock" in completed.stdout
    for line in ("batchmode yes", "controlmaster false", "compression yes", "serveraliveinterval 3"):
        assert line in completed.stdout


def test_the_host_stands_behind_the_end_of_options_and_the_home_there_is_quoted_for_its_shell():
    arguments = ssh.command(Place("lab", "ana@lab"), "/s", "/t", may_ask=True)
    assert arguments[-3:-1] == ["--", "ana@lab"]
    assert "BatchMode=yes" not in arguments
    place = Place("lab", "lab", "~/venv/bin/finetop", "/scratch/a b; id")
    command = "~/venv/bin/finetop --home '/scratch/a b; id' supervisor start --json --hold"
    assert ssh.remote_command(place) == command


def test_paths_are_written_as_ssh_takes_them():
    assert ssh.forwarded("/a:b%h\\c") == "/a\\:b%%h\\\\c"
    with pytest.raises(BadInput):
        ssh.forwarded("/a/${HOME}")
    # last words are clean and one line
    text = "Warning: Permanently added 'lab' to the list.\n\x1b]0;evil\x07Bad \u202ethings\x00.\r\n\n"
    assert ssh.last_words(text) == "Bad <202E>things"
    assert ssh.last_words("") == ""


def test_what_is_no_greeting_is_passed_over():
    for junk in (b"{", b"{}\n", b"\xff\n", b"[" * 9000 + b"\n", b'{"supervisor": 3}\n', b""):
        assert read_greeting(junk) is None
