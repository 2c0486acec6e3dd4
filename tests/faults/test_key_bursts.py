"""Fault 5: bursts of keys, clicks and sizes drawn at random, over a slow link: the app lives, draws and leaves well."""

import os
import random
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from rig import SEVERAL, Rig
from slow_terminal import SlowTerminal
from waiting import times

from finetop.core.runtime.files import write_whole
from finetop.tui.keys import Key
from finetop.tui.modes import EVERYWHERE

SEED = int(os.environ.get("FINETOP_TEST_SEED", "19"))
BURSTS = 60  # a round
MARK = "all-obeyed"
FIRST = ("e2", "e3", "e?", "ea", "er")  # seeds that once ended it
# No letter q: it ends each round. A slash comes after esc: none can get into the name of a file to be saved.
BYTES = {
    "escape": "\x1b", "enter": "\r", "tab": "\t", "shift+tab": "\x1b[Z", "space": " ", "up": "\x1b[A", "down": "\x1b[B",
    "right": "\x1b[C", "left": "\x1b[D", "shift+right": "\x1b[1;2C", "shift+left": "\x1b[1;2D", "home": "\x1b[H",
    "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "backspace": "\x7f", "slash": "\x1b/", "colon": ":",
    "question_mark": "?", "comma": ",", "full_stop": ".", "plus": "+", "equals_sign": "=", "minus": "-",
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "f1": "\x1bOP",
}  # fmt: skip
TEXTS = (
    ":theme\r", ":live\r", ":columns\r", ":messages\r", ":", "\x1b/", "loss", "state:finished\r", "12", "rank",
)  # fmt: skip
SIZES = ((60, 20), (80, 24), (120, 40), (200, 50))
HARMLESS = {"EDITOR": "true", "VISUAL": "true", "PAGER": "true", "SHELL": "true", "HF_HUB_OFFLINE": "1"}


def all_keys() -> list[str]:
    """List what a terminal sends for each key of all screens."""
    screens = Path(__file__).parents[2] / "tui" / "screens"
    modules = ["finetop.tui.keys", "finetop.tui.screens.pages", "finetop.tui.screens.themes"]
    modules += [
        "finetop.tui.screens." + ".".join(file.relative_to(screens).with_suffix("").parts)
        for file in sorted(screens.glob("*/*.py"))
        if file.stem != "__init__"
    ]
    names = {name for key in EVERYWHERE for name in key.keys.split(",")}
    for module in map(import_module, modules):
        for value in vars(module).values():
            keys = value if isinstance(value, tuple) else (value,)
            names |= {name for key in keys if isinstance(key, Key) for name in key.keys.split(",")}
    return [sent(name) for name in sorted(names - {"", "q"})]


def test_every_key_of_all_screens_has_its_bytes():
    assert {"\x1bOP", "j", "\x1b[B"} <= set(all_keys())


def sent(name: str) -> str:
    """Return the bytes of a key by Textual's name."""
    if name.startswith("ctrl+"):
        return chr(ord(name[-1]) - 96)
    return name if len(name) == 1 else BYTES[name]


def burst_of(draw: random.Random, keys: list[str]) -> str:
    """Draw one burst: some keys, a text, or a click."""
    kind = draw.random()
    if kind < 0.1:
        return draw.choice(TEXTS)
    if kind < 0.2:
        place = f"{draw.randint(1, 80)};{draw.randint(1, 24)}"
        return f"\x1b[<0;{place}M\x1b[<0;{place}m"
    if kind < 0.3:
        return draw.choice("eod1234:[]") + draw.choice(keys)
    return "".join(draw.choices([*keys, "e", "\x1b", "\r", "\x10"], k=draw.randint(1, 6)))


@pytest.fixture
def home(cold_rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """A home with finished, failed and living runs."""
    cold_rig.settings, cold_rig.variables = SEVERAL, HARMLESS
    cold_rig.up()
    yield cold_rig


def stock(rig: Rig, number: int) -> None:
    """Add to the home: what was stopped or deleted in the round before is made again."""
    rig.submit(f"whole-{number}", steps=40, saves_every=10, tells=20, check=True, lost=30)
    rig.submit(f"broken-{number}", end="failed", until=12, alarms={"8": [["spike", False]]})
    rig.submit(f"live-{number}", steps=900, pause_s=0.1, saves_every=50, start=1)
    rig.submit_sweep(f"sweep-{number}", 3, steps=10) if number == 0 else None


def round_of(rig: Rig, folder: Path, seed: str, keys: list[str]) -> tuple[int, list[str]]:
    """Play a round; return the count of bytes typed, and what went wrong."""
    draw, typed = random.Random(seed), 0
    bursts = [draw.choice(FIRST), *(burst_of(draw, keys) for _ in range(BURSTS))]
    fault = rig.home.root / "app-fault.txt"
    left = iter(bursts)
    while True:
        command = ["env", "-C", str(folder), sys.executable, "-m", "finetop.tui.main"]
        app = SlowTerminal(command, rig.home.root, 120, 40, draw, HOME=str(folder), **HARMLESS)
        try:
            app.wait_text("1 Runs")
            for burst in left:
                if draw.random() < 0.05:
                    app.resize(*draw.choice(SIZES))
                app.keys(burst)
                typed += len(burst)
                app.pump(draw.choice((0.0, 0.02, 0.1, 0.3)))
                if has_ended(app):
                    break
            app.pump(0.5)
            is_early = has_ended(app)
            if not is_early:
                app.resize(80, 24)
                app.keys("\x1b\x1b\x1b1")
                app.keys(f"\x1b/{MARK}")  # shown once all before it was obeyed, by the list of runs alone
                app.wait_text(MARK)
                app.screen.reset()
                app.keys("\x1b\x0c")
                app.wait_text("1 Runs")
                app.keys("q")
            wrong = [] if (code := os.waitstatus_to_exitcode(app.wait_end())) == 0 else [f"exit code {code}"]
            app.pump(0.4)
            wrong += ["a traceback"] if b"Traceback" in app.sent or b"a fault in" in app.sent else []
            wrong += [fault.read_text()] if fault.exists() else []
        except AssertionError as error:
            return typed, [f"seed {seed}: {error}", repr(bursts)]
        finally:
            app.close()
        if wrong or not is_early:
            return typed, [f"seed {seed}: {words}" for words in wrong] + ([repr(bursts)] if wrong else [])


def has_ended(app: SlowTerminal) -> bool:
    """Whether the program is gone; its status is left for whichever test code waits for it."""
    return os.waitid(os.P_PID, app.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_bursts_of_random_keys_over_a_slow_link_leave_no_traceback(home, tmp_path, survived):
    folder = tmp_path / "where-it-was-started"
    folder.mkdir()
    keys, wrong, typed, rounds = all_keys(), [], 0, times(200, 2)
    for number in range(rounds):
        if number % 5 == 0:
            stock(home, number)
        count, bad = round_of(home, folder, f"{SEED}-{number}", keys)
        typed += count
        wrong += bad
        if log := os.environ.get("FINETOP_TEST_BURSTS"):
            write_whole(Path(log), "\n".join([f"{number + 1} rounds, {typed} keys", *wrong]).encode())
        (home.home.root / "app-fault.txt").unlink(missing_ok=True)
    print(f"{rounds} rounds of seed {SEED}, {typed} keys", *wrong, sep="\n")
    what = f"bursts of random keys over a link of 150 ms each way (seed {SEED})"
    survived("5", what, repeats=rounds, written=typed, wrong=len(wrong))
