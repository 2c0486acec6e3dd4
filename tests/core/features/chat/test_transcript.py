"""The files of a chat: whole lines, pieces gathered, offsets, a line that a crash cut, and who reads."""

import os
import threading

from finetop.core.features.chat import transcript as files
from finetop.core.features.chat.messages import ChatLine, ChatSettings
from finetop.core.features.chat.transcript import Keep, MakeRoom, Prompt, StopLine, Transcript


def test_asks_come_once_and_in_order(tmp_path):
    asks = [Prompt(1, "a\r\nb", ChatSettings(seed=3)), StopLine(), MakeRoom("x", 3.0), Keep(4, 1, "a", "b")]
    for ask in asks[:2]:
        files.append_ask(tmp_path, ask)
    first, offset = files.read_asks(tmp_path)
    with (tmp_path / files.ASKS).open("ab") as file:
        file.write(b'{"type": "prom')  # a crash
    assert files.read_asks(tmp_path, offset) == ([], offset)
    for ask in asks[2:]:
        files.append_ask(tmp_path, ask)
    rest, _ = files.read_asks(tmp_path, offset)
    assert [*first, *rest] == asks
    assert (tmp_path / files.ASKS).stat().st_mode & 0o777 == 0o600


def test_pieces_are_gathered_and_none_is_lost(tmp_path, monkeypatch):
    transcript = Transcript(tmp_path)
    texts = [f"{number} " for number in range(300)]
    threads = [
        threading.Thread(target=lambda side=side: [transcript.piece(side, 1, text) for text in texts])
        for side in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / files.ANSWERS).read_bytes().count(b"\n") < 300
    for side in (0, 1):
        transcript.write(ChatLine("end", 1.0, side=side, number=1, why="end"))
    lines = files.all_answers(tmp_path)
    for side in (0, 1):
        own = [line for line in lines if line.side == side]
        assert "".join(line.text for line in own) == "".join(texts) and own[-1].kind == "end"
    # read in parts, the text is the same
    monkeypatch.setattr(files, "READ_BYTES", 200)
    parts = files.all_answers(tmp_path)
    assert "".join(line.text for line in parts if line.side == 1) == "".join(texts)
    assert files.read_answers(tmp_path, 10**9)[0] == []


def test_who_reads_is_seen_by_the_job(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(files.time, "monotonic", lambda: clock[0])
    presence = files.Presence(tmp_path)
    assert presence.absent_s() == 0
    clock[0] = 130.0
    assert presence.absent_s() == 30
    files.touch(tmp_path)
    assert presence.absent_s() == 0
    clock[0] = 200.0
    os.utime(tmp_path / files.PRESENT, (5, 5))  # a clock that was set back
    assert presence.absent_s() == 0


def test_half_a_surrogate_pair_hinders_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE_S", 0.0)
    transcript = Transcript(tmp_path)
    for piece in ("a \ud83d", "\ude00 b \udc00", "\ud83d"):
        transcript.piece(0, 1, piece)
    transcript.write(ChatLine("error", 1.0, side=0, number=1, text="it said \ud83d"))
    *pieces, error = files.all_answers(tmp_path)
    assert "".join(line.text for line in pieces) == "a \U0001f600 b \ufffd\ufffd"
    assert error.text == "it said \ufffd"
