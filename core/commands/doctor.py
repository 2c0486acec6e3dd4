"""`finetop doctor`: is this machine fit, and what would go wrong."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.commands.output import print_json
from finetop.core.errors import FinetopError
from finetop.core.home import Home, prepare

ABOUT = "look for what is wrong with this machine or home"

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "duckdb", "textual")
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "beegfs"}
LOW_DISK_BYTES = 5 << 30


class Finding(NamedTuple):
    level: Literal["ok", "warning", "trouble"]
    about: str
    text: str


MARKS = {"ok": "✓", "warning": "!", "trouble": "✗"}


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, home: Home) -> int:
    findings = list(look(home))
    if args.json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            print(f"{MARKS[finding.level]} {finding.about:<12} {finding.text}")
    return 4 if any(finding.level == "trouble" for finding in findings) else 0


def look(home: Home) -> Iterator[Finding]:
    yield Finding("ok", "python", f"{sys.version.split()[0]} on {sys.platform}")
    yield libraries()
    try:
        prepare(home)
    except FinetopError as error:
        yield Finding("trouble", "home", str(error))
        return
    yield Finding("ok", "home", f"{home.root}, for you only")
    yield disk(home)
    yield file_system(home.root)
    yield from supervisor(home)
    yield gpus()
    yield lingering()


def libraries() -> Finding:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("trouble", "libraries", f"missing: {', '.join(missing)}. Install finetop again.")
    return Finding("ok", "libraries", ", ".join(found))


def disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.root).free
    text = f"{free / 2**30:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        return Finding("warning", "disk", f"{text}: one full checkpoint of a 7B model is 14 GiB")
    return Finding("ok", "disk", text)


def file_system(folder: Path) -> Finding:
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        return Finding(
            "trouble", "file system", f"{kind}: locks can't be trusted there. Put --home on a local disk."
        )
    return Finding("ok", "file system", kind or "not known")


def file_system_of(folder: Path, mounts: str = "/proc/mounts") -> str:
    """Name the file system that a folder lies on, by the longest mount point above it."""
    best, kind = "", ""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found, *_ = line.split()
        inside = folder.is_relative_to(point.replace("\\040", " "))
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def supervisor(home: Home) -> Iterator[Finding]:
    try:
        with Client(home, start=False) as client:
            facts: protocol.HelloAnswer = client.ask(protocol.Hello())
            trouble = client.ask(protocol.Changes(0, 0.0)).trouble
    except FinetopError as error:
        yield Finding("ok", "supervisor", f"{error.message} The next command starts one.")
        return
    yield Finding("ok", "supervisor", f"{facts.pid}, finetop {facts.version}")
    if facts.version != metadata.version("finetop"):
        yield Finding("warning", "supervisor", "is of another version: `finetop supervisor stop` ends it")
    yield Finding("ok", "spare", facts.spare)
    if trouble:
        yield Finding("trouble", "store", trouble)
    rights = stat.S_IMODE(home.socket.stat().st_mode)
    if rights & 0o077:
        yield Finding(
            "trouble", "socket", f"open to others ({rights:o}): `finetop supervisor stop` makes it new"
        )
    else:
        yield Finding("ok", "socket", f"for you only ({rights:o})")


def gpus() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("ok", "GPU", f"none seen; {os.cpu_count()} CPU cores")
    asked = subprocess.run(
        [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if asked.returncode:
        return Finding("trouble", "GPU", f"nvidia-smi fails: {asked.stdout.strip() or asked.stderr.strip()}")
    return Finding("ok", "GPU", "; ".join(asked.stdout.strip().splitlines()))


def lingering() -> Finding:
    """Say whether systemd ends this user's processes when the last session closes."""
    tool = shutil.which("loginctl")
    if tool is None or not Path("/run/systemd/system").exists():
        return Finding("ok", "after logout", "jobs go on (no systemd here)")
    asked = subprocess.run(
        [tool, "show-user", str(os.getuid()), "--property=Linger", "--value"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    settings = Path("/etc/systemd/logind.conf")
    kills = settings.exists() and "\nKillUserProcesses=yes" in settings.read_text()
    if kills and asked.stdout.strip() != "yes":
        return Finding(
            "warning", "after logout", "systemd kills your jobs: `loginctl enable-linger` keeps them"
        )
    return Finding("ok", "after logout", "jobs go on")
