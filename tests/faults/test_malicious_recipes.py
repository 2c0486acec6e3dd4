"""Fault 21: YAML made to run code, fill memory or never end, given to everything that reads YAML (malicious.py)."""

import json
import resource
import subprocess
import sys
from pathlib import Path

from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.session import Hello

PROGRAM = Path(__file__).with_name("malicious.py")
SLOW_S = 1.0  # of CPU, for one answer; the longest took 0.15
GREW_MIB = 40.0  # from the first answer to the largest; it was 9
ROOM = 1 << 30  # bytes of address space: unbounded growth hits it at once


def is_good(told: dict) -> bool:
    return (
        (told["code"], told["said"].count("\n")) == (2, 1)
        and told["said"].startswith("finetop: ")
        and told["said"].strip().isprintable()
        and len(told["said"]) < 400
        and told["s"] < SLOW_S
    )


def test_malicious_yaml_is_refused_in_one_line_at_every_door_and_runs_nothing(rig, tmp_path, survived):
    before = rig.ask(Hello())
    canary, folder = tmp_path / "canary", tmp_path / "here"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(rig.home.root), str(canary)],
        check=False, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [answer for answer in messages if not is_good(answer)]
    assert not wrong, wrong
    assert len(messages) == 24 * 7 + 4 * 3
    assert messages[-1]["peak_mib"] - messages[0]["peak_mib"] < GREW_MIB
    assert not canary.exists()
    new_files = {path.name for path in folder.iterdir()}
    assert new_files == {"good.yaml", "rows.jsonl", "bad.yaml", "child.yaml", "pipe", "endless"}
    assert rig.ask(Hello()) == before
    assert rig.ask(Runs()).total == 0
    survived("21", "malicious YAML at seven doors", repeats=len(messages))
