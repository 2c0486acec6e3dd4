"""Fault 20 on the command line: names, log lines, samples and answers that would control the terminal."""

import json

import pytest
from hostile import OBEYED, PAYLOADS, fill

from finetop.core.commands.main import main
from finetop.core.text import clean, json_safe, safe


def test_the_sanitizers_leave_nothing_that_a_terminal_obeys():
    for name, payload in PAYLOADS.items():
        document = json_safe(json.dumps({"text": payload}, ensure_ascii=False))
        for sanitized in (clean(payload), safe(payload), document):
            assert not OBEYED.search(sanitized), name
        assert all(len(line.encode()) <= 4096 for line in clean(payload).split("\n")), name
        assert json.loads(document) == {"text": payload}, name


@pytest.fixture
def filled(cold_rig):
    """A home of runs whose every text is a payload, and the supervisor that serves it; the first is called hostile."""
    rig = fill(cold_rig.home.root, list(PAYLOADS.values()), 2)
    rig.open()
    rig.supervisor.connection.execute("UPDATE runs SET name = 'hostile' WHERE id = 1")
    rig.close()
    cold_rig.up()
    return cold_rig


def test_no_command_lets_a_payload_through(filled, capfd, survived, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    evil = PAYLOADS["title"]
    commands = [
        ["ls"], ["ls", evil], ["show", "hostile"], ["show", "hostile", "--recipe"], ["show", evil],
        ["tail", "hostile", "--no-follow"], ["tail", "hostile", "--log", "--no-follow", "-n", "100000"],
        ["flips", "hostile"], ["flips", "hostile", "--task", evil], ["sql", "SELECT * FROM samples"],
        ["sql", "SELECT text FROM samples", "--csv"], ["sql", f"SELECT '{evil}' AS a"], ["sql", evil],
        ["doctor"], ["supervisor", "status"], ["stop", evil], ["kill", evil], ["resume", evil], ["check", evil],
        ["rm", evil], ["rm", "hostile"], ["trash", "--restore", evil], ["clean", "--last", evil], ["run", evil],
        ["plan", evil], [evil], ["ls", "--sort", evil], ["--home", f"/proc/{evil}", "ls"],
        ["export", evil, "--to", evil], ["report", "hostile", "--to", "-"], ["report", "hostile", "--to", evil],
        ["report", "hostile", "--to", "-", "--markdown"], ["report", evil],
    ]  # fmt: skip
    wrong = 0
    for words in commands:
        for extra in ([], ["--json"]):
            code = main(
                [*([] if words[0] == "--home" else ["--home", str(filled.home.root)]), *words, *extra]
            )
            shown = capfd.readouterr()
            assert code in (0, 1, 2, 3, 4)
            match = OBEYED.search(shown.out + shown.err)
            wrong += match is not None
            assert match is None, (words, extra, (shown.out + shown.err)[max(0, match.start() - 60) :][:120])
            assert "Traceback" not in shown.err, words
            assert shown.err.count("\n") <= 1, words
            if extra and shown.out and "--csv" not in words:
                for line in shown.out.splitlines():
                    json.loads(line)
    survived(
        "20", "payloads in all that commands print", repeats=2 * len(commands), written=len(PAYLOADS), wrong=wrong,
    )  # fmt: skip
