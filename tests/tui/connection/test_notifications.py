"""Notifications in the app: a row that names the run, the terminal's bell now and then, and a desktop notification."""

from __future__ import annotations

import sys

import pytest
from terminal import Terminal
from tui_fakes import NOW, FakeSupervisor, make_app, mixed_rows, settled, text_of
from waiting import wait_until

from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.notices import Notice
from finetop.tui.connection import listener

SIZE = (80, 24)


def notice(
    at: int, run: str = "support-r16", kind: str = "spike", text: str = "spike: the loss rose"
) -> Notice:
    return Notice(at, at, run, kind, 5, text, NOW)


async def test_what_happens_while_the_app_is_open_is_said_with_its_run_and_kept() -> None:
    fake = FakeSupervisor(mixed_rows())
    fake.notices = [notice(1, "before")]
    app = make_app(fake)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot, 0.1)
        assert app.messages == []  # earlier events are in the list of runs
        fake.notices.insert(0, notice(2))
        fake.change()
        await settled(pilot, 0.1)
        assert "support-r16: spike: the loss rose" in text_of(app)
        newer = [notice(5, "sql", "failed", "out of memory"), notice(4, "x", "finished"), notice(3, "dpo")]
        fake.notices[:0] = newer
        fake.change()
        await settled(pilot, 0.1)
        assert "sql: out of memory (and 1 other: :messages)" in text_of(app)
        assert [message.text for message in app.messages][1:] == [
            "dpo: spike: the loss rose", "sql: out of memory (and 1 other: :messages)",
        ]  # fmt: skip
        app.messages.clear()  # a run that has finished is not news
        over = [notice(6, kind="finished"), notice(7, kind="over"), notice(8, kind="stopped")]
        fake.notices[:0] = over[::-1]
        fake.change()
        await settled(pilot, 0.1)
        assert app.messages == []


def test_the_bell_rings_seldom_and_a_notification_names_its_machine_and_holds_no_sequence() -> None:
    ringer = listener.Ringer()
    assert [ringer.may_ring(at) for at in (100.0, 101.0, 109.9, 110.0, 119.0, 50.0)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip
    evil = "x\x07\x1b]52;c;aGk=\x07;y\x9d\u202e" + "z" * 500
    for how, head in (("osc9", "\x1b]9;finetop: "), ("osc777", "\x1b]777;notify;finetop;")):
        sequence = listener.notification(how, evil)
        inside = sequence.removeprefix(head).removesuffix("\x07")
        assert len(inside) <= listener.NOTIFICATION
        assert inside.isprintable() and ";" not in inside
    assert listener.notification("none", "x") == ""
    # a machine is named where there are several
    assert listener.notice_text(notice(1), "") == "support-r16: spike: the loss rose"
    assert listener.notice_text(notice(1), "lab") == "lab:support-r16: spike: the loss rose"
    assert listener.notice_text(notice(1, run="", text="disk almost full"), "lab") == "lab: disk almost full"


@pytest.mark.parametrize("text", ["bell: true\nnotify: osc9\n", "bell: false\n"])
def test_a_terminal_rings_and_its_picture_stays(rig, text) -> None:
    (rig.home.root / "settings.yaml").write_text(f"settings: 1\n{text}")
    app = Terminal([sys.executable, "-m", "finetop.tui.main"], rig.home.root)
    try:
        app.wait_text("No runs yet")
        app.rest()
        bells = app.bells
        name = rig.submit(waits_at=3, alarms={"2": [["spike", False]] * 3})
        shown = app.wait_text(f"{name}: spike at step")
        wait_until(lambda: len(rig.ask(GetRun(name)).alarms) == 3, "all are told")
        app.rest(rig.processes[-1].pid)
        assert app.bells - bells == ("bell: true" in text)
        wanted = b"\x1b]9;finetop: fake: spike at step"
        assert all(notification.startswith(wanted) for notification in app.notifications)
        assert len(app.notifications) == ("osc9" in text)
        assert shown.splitlines()[0].startswith(" finetop")
        assert "1 training" in shown
    finally:
        app.close()
        rig.kill_jobs()
