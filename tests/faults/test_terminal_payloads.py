"""Fault 20 on the command line: names, log lines, samples and answers that would steer the terminal."""

import json
import re

import pytest
from still import still, verdict

from finetop.core import events
from finetop.core.commands.main import main
from finetop.core.store import ingest
from finetop.core.text import clean, json_safe, safe

PAYLOADS = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "clear": "\x1b[2J",
    "other screen": "\x1b[?1049h\x1b[?1049l",
    "C1 CSI": "\x9b2J",
    "C1 OSC": "\x9d0;owned\x9c",
    "OSC, unterminated": "\x1b]0;blank the screen",
    "DCS": "\x1bP+q544e\x1b\\",
    "APC": "\x1b_payload\x1b\\",
    "bidi override": "\u202egpj.exe",
    "bidi isolate": "\u2066hidden\u2069",
    "lone CR": "good\rbad",
    "long line": "x" * 1_000_000 + "\x1b[31m",
    "zero-width joins": "a\u200db" * 50,
    "wide and combining": "漢字é\u0301\u0301" * 40,
    "NUL": "a\0b",
    "backspaces": "secret\b\b\b\b\b\b",
    "bell": "\x07\x07",
    "shift out": "\x0e\x0f",
    "reset": "\x1bc",
}
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_sanitizers_leave_nothing_that_a_terminal_obeys(name):
    for sanitized in (clean(PAYLOADS[name]), safe(PAYLOADS[name])):
        assert not _OBEYED.search(sanitized)
    assert all(len(line.encode()) <= 4096 for line in clean(PAYLOADS[name]).split("\n"))
    document = json.dumps({"text": PAYLOADS[name]}, ensure_ascii=False)
    assert not _OBEYED.search(json_safe(document))
    assert json.loads(json_safe(document)) == {"text": PAYLOADS[name]}


@pytest.fixture
def hostile(cold_rig, survived):
    """A run whose every text is a payload, and the supervisor that serves it."""
    made = still(cold_rig.home.root)
    run_id = made.run("hostile", (1,))
    folder = next(cold_rig.home.runs.iterdir())
    job = folder / "jobs" / "0001-train"
    log = events.EventLog(job / "events.jsonl")
    evil = list(PAYLOADS.values())
    log.write(events.Started(1, 1, 1, evil[0] + "cpu", "f" + evil[3], {"torch" + evil[2]: evil[5]}))
    log.write(events.DataRead(evil[9] + evil[1], 1, 1, 0, 0, 1, 1, "0"))
    log.write(events.Alarm("spike", 1, evil[6] + evil[7]))
    log.write(events.Best(1, evil[4] + evil[10]))
    for number, text in enumerate(evil):
        log.write(events.Sample(1, number, text, text))
    for model in ("base", "tuned"):
        items = [
            events.ItemScore(f"item{n}{text[:500]}", float(model == "base"), text[:500], -1.0, -1.0, -1.0)
            for n, text in enumerate(evil)
        ]
        log.write(events.Scores(model, "key", "task" + evil[2], items, 1))
    log.write(events.Verdict(1, {**verdict(), "reason": evil[1] + "why", "suite": "quick" + evil[0]}))
    log.close()
    (job / "log.txt").write_bytes("\n".join(evil).encode("utf-8", "surrogateescape") + b"\xff\xfe\x9b2J")
    connection = made.supervisor.connection
    while ingest.take_in(connection, 1, job / "events.jsonl"):
        pass
    connection.execute(
        "UPDATE runs SET model = model || ?, note = ?, tags = ?, state = ? WHERE id = ?",
        [evil[0], evil[2], json.dumps([evil[2]]),
         json.dumps({"type": "failed", "ended": 5.0, "cause": evil[0] + "cause", "hint": evil[6] + "hint"}), run_id],
    )  # fmt: skip
    made.close()
    cold_rig.start()
    cold_rig.wait_ready()
    return cold_rig


def test_no_command_lets_a_payload_through(hostile, capfd, survived, tmp_path, monkeypatch):
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
                [*([] if words[0] == "--home" else ["--home", str(hostile.home.root)]), *words, *extra]
            )
            shown = capfd.readouterr()
            assert code in (0, 1, 2, 3, 4)
            found = _OBEYED.search(shown.out + shown.err)
            wrong += found is not None
            assert found is None, (words, extra, (shown.out + shown.err)[max(0, found.start() - 60) :][:120])
            assert "Traceback" not in shown.err, words
            assert shown.err.count("\n") <= 1, words
            if extra and shown.out and "--csv" not in words:
                for line in shown.out.splitlines():
                    json.loads(line)
    survived(
        "20",
        "payloads in all that commands print",
        repeats=2 * len(commands),
        written=len(PAYLOADS),
        wrong=wrong,
    )


# What the app's own driver writes beside text: cursor (BS is one to the left), style, modes, queries, repetition.
_OWN = re.compile(
    r"\x1b\[\d*(?:;\d+)?H|\x1b\[\d*[A-DGKXbd]|\x08|\x1b\[[\d;:]*m|\x1b\[\?[\d;]+(?:[hl]|\$p)|\x1b\[[<>=?]?\d*u|\x1b\[6n"
    r"|\x1b\[(?:\d+;\d+)?r|\x1bM|\x1b\]22;\w*\x07"  # scrolling, the pointer's shape
)


@pytest.mark.slow
def test_no_screen_lets_a_payload_through(hostile, terminal_of, survived):
    """Every screen of the real app over a run whose every text is hostile, down to the bytes on the terminal."""
    app = terminal_of(hostile, columns=120, rows=40)
    app.wait_text("hostile")
    app.pump(0.5)
    del app.sent[:]
    pasted = "".join(PAYLOADS.values()).replace("\x1b", "").replace("\0", "")[:300]
    looks = 0
    for keys in (
        ["\r", *["\t", "j", "v"] * 6, "\x1b"],  # the run and its tabs
        [
            "?",
            "j",
            "\x1b",
            ":",
            "\x1b",
            "/",
            f"\x1b[200~{pasted}\x1b[201~",
            "\x1b",
        ],  # help, palette, a filter
        ["r", "\r", "\x1b", "\x1b", "1"],  # remedies
        ["2", "\r", "\r", "\x1b", "\x1b", "v", "1"],  # triage, items, an item
        ["3", "4", "\t", "1", "t", "\x1b", "S", "\x1b", "X", "\x1b", "e", "\x1b"],
        [":", *"messages", "\r", "\x1b"],
    ):
        for key in keys:
            app.keys(key)
            app.pump(0.15)
            looks += 1
    shown = app.sent.decode("utf-8", "replace")
    own, left = _OWN.findall(shown), _OWN.sub("", shown)
    found = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", left)
    assert found is None, left[max(0, found.start() - 60) : found.end() + 60]
    assert len(own) > 1000 and "hostile" in left
    survived("20", "payloads on every screen of the app", repeats=looks, written=len(PAYLOADS), wrong=0)
