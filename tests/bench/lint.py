"""What `finetop lint` costs: seconds, CPU seconds and memory of all its processes, on many rows or many gigabytes.

    python tests/bench/lint.py                     100,000 rows of about 150 tokens, with the tokenizer of --model
    python tests/bench/lint.py --gigabytes 5       a file of 5 GB, made in --folder, removed afterwards
    python tests/bench/lint.py --gigabytes 5 --sentences 60       the same with rows ten times as long
    python tests/bench/lint.py --skip near-duplicates --rows 20000

Rows are made of sentences from the sets in FINETOP_TEST_DATA, combined at random, so that no two are alike; those of
--gigabytes repeat after 100 MB.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

import bench
import msgspec
import psutil

from finetop.core.features.lint.report import Given, LintMessage, LintRequest

NEW = 100_000_000  # bytes of a large file that are new; then they repeat
SETS = ("medquad", "gsm8k_sft", "json_mode", "tatqa", "pubmedqa_sft", "c4_demo")


def sentences(folder: Path) -> list[str]:
    parts = []
    for name in SETS:
        with (folder / name / "train.jsonl").open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                text = (
                    " ".join(turn["content"] for turn in row["messages"])
                    if "messages" in row
                    else row["text"]
                )
                parts += [part for part in re.split(r"(?<=[.?!])\s+", text) if 30 < len(part) < 300]
    return parts


def write_rows(file: IO[bytes], pool: list[str], rows: int, most_bytes: int, sentences: int = 6) -> int:
    """Write rows of a question and an answer, about 150 tokens; return their number."""
    chance = random.Random(1)
    written = 0
    for number in range(rows):
        question = " ".join(chance.choices(pool, k=2))
        answer = " ".join(chance.choices(pool, k=chance.randint(1, sentences)))
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        written += file.write(msgspec.json.encode({"messages": turns}) + b"\n")
        if written >= most_bytes:
            return number + 1
    return rows


def repeat(path: Path, size: int) -> None:
    """Repeat the file's rows until it has this size: making that many new ones takes longer than linting."""
    rows = path.read_bytes()
    with path.open("ab") as file:
        while file.tell() < size:
            file.write(rows)


def measure(request: LintRequest, home: Path) -> None:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "finetop.core.features.lint", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(request))
    process.stdin.close()
    peaks = [0]
    Thread(target=watch_memory, args=(psutil.Process(process.pid), peaks), daemon=True).start()
    for marks, line in enumerate(process.stdout):
        message = msgspec.json.decode(line, type=LintMessage)
        if message.report is not None:
            show(message, time.monotonic() - began, max(peaks), marks)
        if message.trouble is not None:
            sys.exit(f"{message.trouble.message} {message.trouble.hint}")
    process.wait()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"CPU {usage.ru_utime + usage.ru_stime:.1f} s (user {usage.ru_utime:.1f}, system {usage.ru_stime:.1f})"
    )


def watch_memory(root: psutil.Process, peaks: list[int]) -> None:
    """Note the resident memory of a process and its descendants, shared pages counted in each, until it ends."""
    while root.is_running():
        with suppress(psutil.NoSuchProcess):
            tree = (root, *root.children(recursive=True))
            peaks[0] = max(peaks[0], sum(process.memory_info().rss for process in tree))
        time.sleep(0.05)  # between two samples


def show(message: LintMessage, seconds: float, peak: int, marks: int) -> None:
    report = message.report
    assert report is not None
    size = sum(source.bytes for source in report.sources)
    print(
        f"{report.rows:,} rows, {size / 1e9:.2f} GB, {report.lengths.tokens:,} tokens ({report.lengths.how}),"
        f" {len(report.findings)} findings of {len(report.looked_for)} looked for, {marks} signs of progress"
    )
    print(f"wall {seconds:.1f} s, peak {peak / 2**20:.0f} MiB of all processes, {bench.load()}")


def main() -> None:
    args = bench.options(
        __doc__, rows=100_000, sentences=(6, "of an answer, at most"),
        gigabytes=(float, "make rows until the file is so large"),
        model=(str, "folder of the model whose tokenizer counts"), workers=2, only="", skip="",
        folder=(str, "where the file is made"),
    )  # fmt: skip
    data = bench.data_folder()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "rows.jsonl"
        most = 1 << 62 if args.gigabytes is None else int(args.gigabytes * 1e9)
        rows = args.rows if args.gigabytes is None else 1 << 40
        with path.open("wb") as file:
            write_rows(file, sentences(data), rows, min(most, NEW), args.sentences)
        repeat(path, most if args.gigabytes is not None else 0)
        measure(
            LintRequest(
                (Given("train", {"path": str(path)}),),
                model=args.model,
                max_tokens=1024,
                only=tuple(filter(None, args.only.split(","))),
                skip=tuple(filter(None, args.skip.split(","))),
                workers=args.workers,
            ),
            Path(folder),
        )


if __name__ == "__main__":
    main()
