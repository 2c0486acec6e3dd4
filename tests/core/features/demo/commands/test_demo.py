"""`finetop demo` on fake jobs: its progress and time left, each verdict as it comes, and the exit code."""

import re

import msgspec
import pytest

from finetop.core.features.demo.commands import demo
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import EventsAnswer


@pytest.mark.slow
def test_a_verdict_is_printed_as_soon_as_it_is_there_and_an_unexpected_one_too(rig, finetop, monkeypatch):
    def queue(*_):
        return {name: rig.submit(name, steps=20, lost=points, check=True) for name, points in lost.items()}

    lost = {"demo-lora": 0, "demo-full-hot": 30}
    monkeypatch.setattr(demo, "queue", queue)
    code, out, err = finetop("demo")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    first = lines.index("demo-lora at step 20, suite quick")
    progress = re.compile(r"^demo-full-hot  .*\((about|less than) .* left\)$")
    printed = [at for at, line in enumerate(lines) if progress.match(line)]
    assert printed and first < printed[0], out
    assert any(line.startswith("demo-lora  ") and line.endswith(" left)") for line in lines[:first])
    assert "✓ demo-lora was made to learn and remember, and did." in out
    assert "✓ demo-full-hot was made to forget, and did." in out

    lost = dict.fromkeys(lost, 0)
    code, out, _ = finetop("demo")
    assert code == 1
    assert "✗ demo-full-hot-2 was made to forget, but did not: ok." in out


def row(state, step=0, checking=None):
    return data.RunRow(1, "one", "m", "lora", "sft", state, 0.0, step, 40, {}, None, checking, False)


FINISHED = data.Finished(0.0, 1.0)
STORY = [
    ("demo-lora", row(data.Queued(1))),
    ("demo-lora", row(data.Running(0.0, "training"), 20)),
    ("demo-lora", row(FINISHED, 40, data.Running(0.0, "measuring base", 336, 672))),
    ("demo-lora", row(FINISHED, 40, data.Running(0.0, "scoring tuned", 336, 672))),
    ("demo-full-hot", row(data.Running(0.0, "training"), 20)),
    ("demo-full-hot", row(FINISHED, 40, data.Running(0.0, "scoring tuned", 600, 672))),
]


def test_what_is_left_falls_and_goes_by_the_pace_of_what_is_done():
    left = [demo.time_left(recipe, at, 0.0) for recipe, at in STORY]
    assert left == sorted(left, reverse=True)
    recipe, at = STORY[2]
    assert demo.time_left(recipe, row(data.Queued(1)), 0.0) == demo.WHOLE_S
    parts = demo.PART_SECONDS[recipe]
    done = parts["prepare"] + parts["train"] + parts["base"] / 2
    on_time, slow = (demo.time_left(recipe, at, seconds) for seconds in (done, 2 * done))
    assert on_time == pytest.approx(demo.WHOLE_S - done)
    assert slow == pytest.approx(on_time * (2 * done + demo.TRUSTED_S) / (done + demo.TRUSTED_S))


def test_a_line_counts_what_its_phase_counts():
    checking = row(FINISHED, 40, data.Running(0.0, "measuring base", 336, 672, "items"))
    line = "one  check: measuring base 336/672 items  (about 2 min left)"
    assert demo.progress_line("one", checking, 130.0) == line
    assert demo.progress_line("one", checking, 59.0).endswith("(less than a minute left)")


def test_in_a_terminal_one_line_is_written_over(capsys, monkeypatch):
    printer = demo.ProgressPrinter("demo-lora", "one", 0.0)
    training = row(data.Running(0.0, "training", 20, 40, "steps"), 20)
    rows = [training, msgspec.structs.replace(training, metrics={"loss": 1.7})]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for row_shown in (*rows, row(FINISHED, 40)):
        printer(EventsAnswer([], row_shown, 1))
    out = capsys.readouterr().out
    assert "\n" not in out
    lines = ["", "one  training 20/40 steps", "one  training 20/40 steps, loss 1.70", ""]
    assert [line.partition("  (")[0] for line in out.split("\r\x1b[K")] == lines
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    for row_shown in rows:
        printer(EventsAnswer([], row_shown, 1))
    assert capsys.readouterr().out == "", "the same phase, soon after"
