"""The machine: Python and libraries, processes after logout, the clock."""

from __future__ import annotations

import operator
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from finetop.core.features.doctor.checks import Finding, ok, trouble, warning
from finetop.core.runtime import parts
from finetop.core.runtime.home import Home

LIGHT = ("textual", "numpy")
OF_TRAIN = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "duckdb")
INSTALL = "Install finetop again: pip install finetop."
TOLERATED_S = 120.0
COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "<": operator.lt, ">": operator.gt}
LOGIND = ("/etc/systemd/logind.conf", "/etc/systemd/logind.conf.d", "/run/systemd/logind.conf.d",
          "/usr/lib/systemd/logind.conf.d")  # fmt: skip


def python() -> Finding:
    text = f"{sys.version.split()[0]} on {sys.platform}"
    if sys.platform != "linux":
        fix = "Jobs run; a killed job's grandchildren and others' GPU memory are not seen."
        return warning("python", f"{text}: made for Linux", fix)
    return ok("python", text)


def libraries() -> Finding:
    """Report which versions are installed, and which are outside the range that finetop was tested with."""
    installed, missing, wrong = [], [], []
    wanted = requirements()
    for name in (*OF_TRAIN, *LIGHT):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        installed.append(f"{name} {version}")
        if not fits(version, wanted.get(name, "")):
            wrong.append(f"{name} {version} (wanted {wanted[name]})")
    if set(missing) & set(LIGHT):
        return trouble("libraries", f"missing: {', '.join(missing)}", INSTALL)
    fix = f"Install finetop again: {parts.INSTALL}."
    if set(missing) == set(OF_TRAIN):
        text = f"{', '.join(installed)}; without finetop[train]: other machines' runs (--on), diff, lint"
        return Finding("ok", "libraries", text, f"To keep and train runs here: {parts.INSTALL}.")
    if missing:
        return trouble("libraries", f"missing of finetop[train]: {', '.join(missing)}", fix)
    if wrong:
        return warning("libraries", f"not tested with {', '.join(wrong)}", fix)
    return ok("libraries", ", ".join(installed))


def requirements() -> dict[str, str]:
    """Map each library of finetop and finetop[train] to its tested versions: '>=2.9,<2.14'; none if not installed."""
    try:
        lines = metadata.requires("finetop") or []
    except metadata.PackageNotFoundError:
        return {}
    versions = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)\s*\(?([<>=!~0-9.,\s]*)\)?", line)
        if match and ("extra ==" not in line or re.search(r"extra == .train\b", line)):
            versions[match[1].lower()] = match[2].replace(" ", "")
    return versions


def fits(version: str, wanted: str) -> bool:
    """Return True if a version is within bounds such as '>=2.9,<2.14'; a bound that can't be parsed holds."""
    own = numbers(version)
    for bound in filter(None, wanted.split(",")):
        match = re.fullmatch(r"(>=|<=|==|<|>)([0-9.]+)", bound)
        if match is None:
            continue
        other = numbers(match[2])
        width = max(len(own), len(other))
        left, right = (parts + (0,) * (width - len(parts)) for parts in (own, other))
        if not COMPARE[match[1]](left, right):
            return False
    return True


def numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def output_of(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a system tool, for at most 20 s; None if it fails to start or takes longer."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def lingering(system: Path = Path("/")) -> Finding:
    """Report whether systemd ends this user's processes, jobs included, when the last session closes."""
    tool = shutil.which("loginctl")
    if tool is None or not (system / "run/systemd/system").exists():
        return ok("after logout", "jobs go on (no systemd here)")
    result = output_of([tool, "show-user", str(os.getuid()), "--property=Linger", "--value"])
    lingers = result is not None and result.stdout.strip() == "yes"
    if kills_at_logout(system) and not lingers:
        text = "systemd kills your jobs and the supervisor (KillUserProcesses=yes)"
        return trouble("after logout", text, "loginctl enable-linger")
    return ok("after logout", "jobs go on" + (" (lingering)" if lingers else ""))


def kills_at_logout(system: Path) -> bool:
    """Read KillUserProcesses of logind: the last setting counts, and drop-ins come after the main file."""
    kills = False
    for place in LOGIND:
        path = system / place.lstrip("/")
        for file in sorted(path.glob("*.conf")) if path.is_dir() else [path]:
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            for line in lines:
                key, _, value = line.partition("=")
                if key.strip() == "KillUserProcesses":
                    kills = value.strip().lower() in ("yes", "true", "1", "on")
    return kills


def clock(home: Home) -> Finding:
    """Report whether the clock is behind files that this home has written: ages and dates would be wrong."""
    files = (home.database, home.log, home.root / "store.json")
    ahead = max((file.stat().st_mtime for file in files if file.exists()), default=0.0) - time.time()
    if ahead > TOLERATED_S:
        text = f"is {ahead / 3600:.1f} hours behind files of this home: it was set back"
        return warning("clock", text, "timedatectl set-ntp true")
    return ok("clock", time.strftime("%F %T %Z"))
