"""`import finetop` in a training script: two names, nothing loaded before they are used."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, finetop
before = [name for name in sys.modules if name.startswith("finetop")]
finetop.log("run", 3, loss=0.5)
from finetop import log
import finetop.core, finetop.recipes, finetop.tui
heavy = sorted({"torch", "transformers", "textual", "duckdb", "psutil"} & set(sys.modules))
print([name for name in before if "editable" not in name], log is finetop.log, heavy)
"""


def run(script: str, folder: Path) -> str:
    environment = {"FINETOP_HOME": str(folder), "PATH": ""}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_log_is_at_the_top_of_the_package_and_loads_only_itself(tmp_path):
    assert run(SCRIPT, tmp_path) == "['finetop'] True []\n"
    (line,) = (tmp_path / "logged" / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 3
    assert json.loads(line)["loss"] == 0.5


def test_a_name_that_is_not_there_is_named(tmp_path):
    script = "import finetop\ntry: finetop.lgo\nexcept AttributeError as error: print(error)"
    assert run(script, tmp_path) == "module 'finetop' has no attribute 'lgo'\n"
