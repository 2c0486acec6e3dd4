"""Strings that would control a terminal, and a home in which every text is one of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import store_rows
from still import Still, still, verdict

from finetop.core.protocol import events
from finetop.core.protocol.exports import ExportedFile, ExportVerdict, TargetScores, TaskScores
from finetop.core.protocol.runs import Failed, Finished
from finetop.core.store import jobs, runs
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    from pathlib import Path

# Their parameters are ones that the app itself never sends, so that they can be recognised on the terminal.
PAYLOADS = {
    # CSI
    "clear": "\x1b[2J", "clear all": "\x1b[3J", "erase line": "\x1b[2K", "home": "\x1b[77;199H",
    "home, f": "\x1b[77;199f", "up": "\x1b[77A", "down": "\x1b[77B", "next line": "\x1b[77E",
    "previous line": "\x1b[77F", "column": "\x1b[199G", "row": "\x1b[77d", "red": "\x1b[31;105m",
    "hidden": "\x1b[8;5m", "24-bit": "\x1b[38;2;213;213;213m", "colon colour": "\x1b[38:2::213:213:213m",
    "other screen": "\x1b[?1049h\x1b[?1049l", "old other screen": "\x1b[?47h", "mouse": "\x1b[?1003h\x1b[?1006h",
    "no cursor": "\x1b[?25l", "paste mode": "\x1b[?2004h", "paste end": "\x1b[201~", "scroll region": "\x1b[7;9r",
    "scroll up": "\x1b[77S", "scroll down": "\x1b[77T", "insert lines": "\x1b[77L", "delete lines": "\x1b[77M",
    "insert cells": "\x1b[77@", "delete cells": "\x1b[77P", "erase cells": "\x1b[77X", "repeat": "A\x1b[77b",
    "window": "\x1b[8;77;199t", "report title": "\x1b[21t", "where": "\x1b[6n", "who": "\x1b[c",
    "who, second": "\x1b[>c", "what mode": "\x1b[?2026$p", "soft reset": "\x1b[!p", "insert mode": "\x1b[4h",
    "cursor shape": "\x1b[5 q", "save": "\x1b[s\x1b[u", "kitty keys": "\x1b[>1u", "modify keys": "\x1b[>4;2m",
    "LEDs": "\x1b[3q", "print": "\x1b[5i", "tab stops": "\x1b[3g", "protected": '\x1b[1"q', "cut CSI": "\x1b[38;5",
    "intermediate": "\x1b[1 A", "long parameters": "\x1b[" + "7;" * 400 + "7m", "CSI with a control": "\x1b[3\x071m",
    "rectangle": "\x1b[65;1;1;9;9$x",
    # OSC
    "title": "\x1b]0;owned\x07", "icon": "\x1b]1;owned\x1b\\", "title, ST": "\x1b]2;owned\x1b\\",
    "link": "\x1b]8;;http://owned/\x07here\x1b]8;;\x07", "link, ST": "\x1b]8;id=1;file:///etc\x1b\\x\x1b]8;;\x1b\\",
    "message": "\x1b]9;owned\x07", "progress": "\x1b]9;4;1;77\x07", "palette": "\x1b]4;1;rgb:00/00/00\x07",
    "foreground": "\x1b]10;#000000\x07", "ask background": "\x1b]11;?\x07", "cursor colour": "\x1b]12;red\x07",
    "font": "\x1b]50;owned\x07", "clipboard": "\x1b]52;c;cm0gLXJm\x07", "ask clipboard": "\x1b]52;c;?\x07",
    "shell mark": "\x1b]133;A\x07", "notify": "\x1b]777;notify;owned;x\x07",
    "file": "\x1b]1337;File=inline=1:QUFB\x07", "user variable": "\x1b]1337;SetUserVar=a=YQ==\x07",
    "folder": "\x1b]7;file://owned/\x07", "OSC, unterminated": "\x1b]0;blank the screen",
    "OSC, cut by CSI": "\x1b]0;a\x1b[31;105mb",
    # other strings
    "DCS": "\x1bP+q544e\x1b\\", "sixel": "\x1bPq#0;2;0;0;0~-\x1b\\", "user keys": "\x1bP1;1|17/6c73\x1b\\",
    "status": "\x1bP$qm\x1b\\", "tmux": "\x1bPtmux;\x1b\x1b]0;owned\x07\x1b\\", "DCS, unterminated": "\x1bPq",
    "APC": "\x1b_payload\x1b\\", "kitty picture": "\x1b_Ga=T,f=24;AAAA\x1b\\", "PM": "\x1b^payload\x1b\\",
    "SOS": "\x1bXpayload\x1b\\", "screen title": "\x1bkowned\x1b\\",
    # short escapes
    "reset": "\x1bc", "bare ESC": "a\x1b", "two ESC": "\x1b\x1b", "ESC at the end of a colour": "\x1b[31;105m\x1b",
    "index": "\x1bD\x1bE\x1bM", "DEC save": "\x1b7\x1b8", "keypad": "\x1b=\x1b>", "alignment": "\x1b#8",
    "charset": "\x1b(0lqqk\x1b(B", "locking shift": "\x1bn\x1bo", "7-bit C1": "\x1b F", "UTF-8 off": "\x1b%@",
    # C1, as UTF-8 text; as bytes where a text may hold some
    "C1 CSI": "\x9b2J", "C1 OSC": "\x9d0;owned\x9c", "C1 DCS": "\x90q\x9c", "C1 APC": "\x9fpayload\x9c",
    "C1 PM": "\x9epayload\x9c", "C1 SOS": "\x98payload\x9c", "C1 next line": "a\x85b", "C1 index": "\x84\x8d",
    "every C1": "".join(map(chr, range(0x80, 0xA0))), "every C0": "".join(map(chr, range(0x20))),
    # controls
    "NUL": "a\0b", "bell": "\x07\x07", "backspaces": "secret\b\b\b\b\b\b", "tabs": "\t\t\t", "line feeds": "a\n\n\nb",
    "vertical tab": "a\vb", "form feed": "a\fb", "lone CR": "good\rbad", "CR and LF": "a\r\nb",
    "shift out": "\x0e\x0f", "XOFF": "\x13\x11", "ENQ": "\x05", "SUB and CAN": "\x1a\x18", "DEL": "a\x7fb",
    "line separators": "a\u2028b\u2029c",
    # texts that are not what they seem
    "bidi override": "\u202egpj.exe", "bidi embeddings": "\u202a\u202bx\u202c",
    "bidi isolates": "\u2066\u2067\u2068x\u2069", "bidi marks": "\u200ea\u200fb\u061cc",
    "zero-width": "a\u200bb\u200cc\ufeffd\u2060e", "zero-width joins": "a\u200db" * 50, "soft hyphens": "a\u00adb",
    "combining flood": "e" + "\u0301\u0327\u0489" * 300, "combining first": "\u0301\u0308x", "wide": "漢字" * 40,
    "wide and combining": "漢字é\u0301\u0301" * 40, "family": "👨\u200d👩\u200d👧\u200d👦", "flag": "🇩🇪🇫",
    "skin": "👋🏽", "variation": "☠\ufe0e❤\ufe0f", "keycap": "1\ufe0f\u20e3", "tags": "🏴\U000e0067\U000e007f",
    "private use": "\ue0b0\uf8ff\U000f0000", "no characters": "\ufffe\uffff\U0010ffff", "replacement": "\ufffd",
    "Arabic": "مرحبا", "Devanagari": "क्षि", "Hangul parts": "\u1112\u1161\u11ab", "full width": "ＡＢＣ１",
    "em space": "a\u2003\u3000b", "long line": "x" * 100_000 + "\x1b[31;105m", "long word of wide": "漢" * 5000,
    # markup and formats of the drawing libraries
    "Rich": "[bold red]owned[/] [link=http://owned]x[/link]", "Textual": "[@click=app.quit]owned[/]", "close": "[/]",
    "action": "[@click=\"app.bell()\"]x[/@click]", "brackets": "[[[]]]\\[", "emoji name": ":skull:",
    "CSS": "{color: red;}", "percent": "%s%n%d%(x)s%", "braces": "{0} {x!r} {__class__}",
    "dollar": "$(reboot) `reboot` ${HOME}", "HTML": "<script>alert(1)</script>", "JSON": '"}],"x":[{',
    "SQL": "'; DROP TABLE runs; --", "path": "../../../../etc/passwd", "dashes": "--help", "nothing": "",
    "space": " ",
}  # fmt: skip
# For logs: C1, cut and wrong UTF-8.
RAW = b"\x9b2J \x9d0;owned\x9c \xff\xfe \xc3 \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\x9b"

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]P_^X]|[\x9d\x90\x9f\x9e\x98]).{1,3}|\x1b[ -/]*[0-OQ-WYZ`-~]"
)
_SAID_BY_US = {"\x1b[6n", "\x1bM"}  # cursor position query, and up by a row
SEQUENCES = {one for text in PAYLOADS.values() for one in _SEQUENCE.findall(text)} - _SAID_BY_US
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Texts:
    """Gives each place of a home the next of these texts, starting at one of them."""

    texts: list[str]
    at: int

    def __call__(self, longest: int = 10_000) -> str:
        self.at += 1
        return self.texts[self.at % len(self.texts)][:longest]

    def key(self) -> str:
        """Return a text that may be a name: not empty, of at most 200 characters."""
        return self(200) or "-"


def fill(home: Path, texts: list[str], count: int) -> Still:
    """Make a home of `count` runs whose every text is one of these; some places cover all texts over all runs."""
    still_home = still(home)
    connection = still_home.supervisor.connection
    for number in range(count):
        text = Texts(texts, number * len(texts) // count)
        _fill_run(still_home, still_home.run(f"hostile-{number}", (1, 2)), number, text)
    for number in range(0, count, 8):
        queued = still_home.queue(f"waits-{number}")
        text = Texts(texts, number)
        connection.execute(
            "UPDATE runs SET name = ?, model = ?, method = ? WHERE id = ?",
            [text() or "-", text(), text(), queued],
        )
    connection.execute("INSERT INTO queue_held VALUES (1.0)")
    still_home.close()
    return still_home


def _fill_run(still_home: Still, run: int, number: int, text: Texts) -> None:
    connection = still_home.supervisor.connection
    job_events = [
        events.Started(1, 1, 1, text(), text(), {text.key(): text(), text.key(): text()}),
        events.Phase(text(), 1.0, 2.0, text()),
        events.DataRead(text(), 1, 1, 0, 0, 1, 1, text()),
        events.SourceRead(
            source=text(), path=text(), part=text(), use="train", rows=1, content=text(), revision=text()
        ),
        events.FirstRow([(text(), False), (text(), True)]),
        events.Metrics(1, {"loss": 1.0, text.key(): 2.0, text.key(): 3.0}, {text.key(): "nan"}),
        events.Alarm(text(), 1, text()),
        events.Alarm(text(), 2, text()),
        events.Best(1, text()),
        *(events.Sample(step, index, text(), text()) for step in (1, 2) for index in range(3)),
        *_check(text),
        *_remedies(text),
        *_exports(text),
    ]
    state: Any = Finished(1.0, 2.0) if number % 3 else Failed(2.0, text(), text())
    query = "SELECT j.id, r.folder, j.folder FROM jobs j JOIN runs r ON r.id = run_id WHERE run_id = ?"
    job, run_folder, job_folder = still_home.rows(query, run)[0]
    place = still_home.home.root / run_folder / job_folder
    store_rows.take_in(connection, job, place / "events.jsonl", *job_events)
    lines = [text() for _ in range(len(text.texts))]
    (place / "log.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n" + RAW)
    recipe = json.loads(connection.execute("SELECT recipe FROM runs WHERE id = ?", [run]).fetchone()[0])  # type: ignore[index]
    recipe["about"], recipe[text.key()] = text(), {text.key(): text()}
    with transaction(connection):
        jobs.set_state(connection, job, state)
        runs.set_state(connection, run, state)
        connection.execute(
            "UPDATE runs SET name = ?, model = ?, method = ?, objective = ?, note = ?, tags = ?, recipe = ?, source = ?"
            " WHERE id = ?",
            [text() or "-", text(), text(), text(), text(), json.dumps([text(), f"sweep/{text()}"]), json.dumps(recipe),
             text(), run],
        )  # fmt: skip
        connection.execute("UPDATE checkpoints SET kind = ? WHERE run_id = ?", [text(), run])
        connection.execute(
            "INSERT INTO triage VALUES (?, '', 'looking', ?, 1.0, ?, ?, ?, 5.0)",
            [run, text(), text(), text(), text()],
        )
        if run > 1:
            connection.execute("INSERT INTO parents VALUES (?, ?, ?, 1)", [run, run - 1, text()])


def _check(text: Texts) -> list[events.Event]:
    """Return the events of a check that lost half of its items."""
    task, items, flips = text.key(), 8, []
    scores: dict[str, list[events.ItemScore]] = {"base": [], "tuned": []}
    for at in range(items):
        item = f"{text(300)}{at}"
        for model, item_scores in scores.items():
            score = float(model == "base" or at % 2)
            item_scores.append(events.ItemScore(item, score, text(300), -1.0, -1.0, -2.0))
        if not at % 2:
            question = {"task": task, "item": item, "category": text(200), "question": text(), "gold": text()}
            answers = {"base_answer": text(), "tuned_answer": text(), "choices": [text(), text()]}
            flips.append({**question, **answers, "base": 1.0, "tuned": 0.0})
    result = verdict(50)
    result["tasks"] = [{**entry, "task": task} for entry in result["tasks"]]
    result |= {
        "reason": text(), "suite": text(), "notes": [text(), text()], "flips": flips,
        "categories": [{"task": task, "category": text(200), "n": 8, "lost": 4, "won": 0}],
    }  # fmt: skip
    return [
        *(events.Scores(model, text(), task, item_scores, 1) for model, item_scores in scores.items()),  # type: ignore[arg-type]
        events.Verdict(1, result),
    ]


def _exports(text: Texts) -> list[events.Event]:
    verdict = ExportVerdict(
        verdict="regressed", reason=text(), margin=0.03, drop=0.2, scores=(0.5, 0.7, 0.5), items_used=5, items_total=9,
        lost=1, tasks=[TaskScores(text.key(), "lost", 0.2, (0.5, 0.7, 0.5), 5)], suite=text(),
        target={text.key(): TargetScores((0.1, 0.2, 0.3), 0.0, 0.2)},
    )  # fmt: skip
    more = {"step": 2, "folder": text(), "bytes": 5, "trained_bytes": 9}
    return [
        events.ExportJudged(ExportedFile(name=text.key(), quant=text.key(), verdict=verdict, **more)),
        events.ExportJudged(ExportedFile(name=text.key(), quant=text.key(), unasked=text(), **more)),
    ]


def _remedies(text: Texts) -> list[events.Event]:
    return [
        events.RemedyTried(
            step=2, name=name, remedy="interpolate", label=text(), made_of=1, settings={text.key(): text()},
            verdict="ok", reason=text(), target={text.key(): 0.5}, gain=0.5, drop=0.01, interval=(0.0, 0.02),
            items_used=5, items_total=9, tasks=[(text.key(), 0.1, text.key())], note=text(),
        )
        for name in ("now", text.key(), text.key())
    ]  # fmt: skip
