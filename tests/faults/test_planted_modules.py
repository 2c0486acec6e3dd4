"""Attack: Python files named as modules in the working folder. No command may execute them."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from drawn import few

from finetop.core.commands.main import verbs

ROOT = Path(__file__).parents[2]
NAMES = [
    "asyncio", "base64", "contextlib", "csv", "dataclasses", "datasets", "decimal", "duckdb",
    "finetop", "functools", "httpx", "inspect", "jinja2", "json", "logging", "msgspec", "numpy",
    "peft", "pip", "psutil", "pyarrow", "random", "regex", "requests", "safetensors", "shutil",
    "sqlite3", "string", "textual", "tokenizers", "torch", "transformers", "trl", "typing", "yaml",
]  # fmt: skip
PLANTED = "open({mark!r}, 'w').close()\nraise SystemExit('a planted module was executed')\n"
LINES = """
supervisor start; run mine.yaml; plan mine.yaml; lint mine.yaml; lint rows.jsonl --fix fixed.jsonl
select mine.yaml --rows 5 --by random --to few.jsonl; import {model}; suites --fetch quick; recipe mine.yaml
accept mine --reason r; alarms; approaches mine.yaml; ask mine a; chat mine --plain; check mine; clean; compare mine x
completion bash; data; demo --help; diff rows.jsonl rows.jsonl; doctor; export mine --to out; flips mine; gpus; ls
methods; note mine a; open x; pause mine; push mine org/name --dry-run; queue; remedy mine; report mine; retry mine
resume mine; show mine; sql 'SELECT 1'; stop mine; sweep; tag mine +a; tail mine --json; triage; watch mine
kill mine; rm mine --yes; trash; supervisor stop; rebuild
"""

# One process for all, as the program `finetop` starts it; what it starts itself are processes of their own.
SEVERAL = """
import json, os, sys
from finetop.core.commands.main import main
executed = {}
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit:
        pass
    for name in os.listdir(sys.argv[2]):
        executed.setdefault(name, words)
        os.unlink(os.path.join(sys.argv[2], name))
print(json.dumps(executed))
"""


def lines() -> list[str]:
    return [line.strip() for line in LINES.replace("\n", ";").split(";") if line.strip()]


def test_only_one_function_starts_a_python():
    """It gives -P. A second place would have to remember that."""
    files = [file for top in ("core", "tui") for file in (ROOT / top).rglob("*.py")]
    starting = [file for file in files if "sys.executable" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(ROOT).as_posix() for file in starting] == ["core/runtime/processes.py"]


def test_no_verb_executes_a_python_file_of_the_working_folder(tmp_path, tiny_model):
    assert {line.split()[0] for line in lines()} == set(verbs())
    folder, marks = tmp_path / "downloaded", tmp_path / "marks"
    folder.mkdir(), marks.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(PLANTED.format(mark=str(marks / name)))
    rows = ({"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}. " * 20} for n in range(2000))
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )  # enough for lint's workers
    (folder / "mine.yaml").write_text(
        f"recipe: 1\nname: mine\nmodel: {{id: {tiny_model}}}\nmethod: {{name: lora}}\nobjective: {{name: sft}}\n"
        "data: {train: [{path: rows.jsonl}]}\ntrain: {max_steps: 1, epochs: null}\ncheck: {at_end: false}\n"
    )
    environment = {**os.environ, "FINETOP_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    begin, run, *between, stop, rebuild = lines()
    chosen = [begin, run, *few(between, 18), stop, rebuild]
    asked = json.dumps([shlex.split(line.format(model=tiny_model)) for line in chosen])
    done = subprocess.run(
        [Path(sys.prefix) / "bin" / "python", "-P", "-c", SEVERAL, asked, marks], cwd=folder, env=environment,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "{}"), done.stdout + done.stderr
