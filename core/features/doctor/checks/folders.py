"""The home's folders: owner and rights, file system, free space, stray folders."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from finetop.core.errors import FinetopError
from finetop.core.features.doctor.checks import Finding, ok, trouble, warning
from finetop.core.recipe import home_settings
from finetop.core.runtime import files
from finetop.core.runtime.home import Home
from finetop.core.wording.units import gib_of

LOW_DISK_BYTES = 5 << 30
SHOWN = 3  # names shown of a list


def folder_findings(home: Home) -> Iterator[Finding]:
    yield ok("home", f"{home.root}, private to you")
    yield rights(home)
    yield file_system(home.database.parent)
    yield disk(home.root)
    yield home_settings_finding(home)
    yield from strays(home)


def future_home_findings(home: Home) -> Iterator[Finding]:
    """Yield the findings on the place where the home will be, before it exists."""
    parent = next(folder for folder in (home.root, *home.root.parents) if folder.is_dir())
    yield ok("home", f"{home.root} does not exist yet: the first run creates it")
    if not os.access(parent, os.W_OK | os.X_OK):
        yield trouble("rights", f"you can't write to {parent}", "Pick another with --home or FINETOP_HOME.")
    database_folder = home.database.parent
    yield file_system(database_folder if database_folder.is_dir() else parent)
    yield disk(parent)
    yield home_settings_finding(home)


def rights(home: Home) -> Finding:
    """Report what in the home belongs to another user or is open to others, even if the home keeps them out."""
    foreign, open_ones = [], []
    for path in [*home.root.iterdir(), *home.runs.glob("*"), *home.runs.glob("*/*")]:
        try:
            facts = path.lstat()
        except OSError:
            continue
        if facts.st_uid != os.getuid():
            foreign.append(str(path.relative_to(home.root)))
        elif not stat.S_ISLNK(facts.st_mode) and facts.st_mode & 0o077:
            open_ones.append(str(path.relative_to(home.root)))
    if foreign:
        text = f"{listed(foreign)} belong{'s' if len(foreign) == 1 else ''} to another user"
        return trouble("rights", text, f"chown -R -h {os.getuid()} {home.root}")
    if open_ones:
        text = f"{listed(open_ones)} could be read by others, if the home were open"
        return warning("rights", text, f"chmod -R go= {home.root}")
    return ok("rights", "all of it is yours and private")


def listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def file_system(folder: Path) -> Finding:
    """Report whether the database can be in a folder: the home, or that of FINETOP_DATABASE."""
    kind = files.file_system_of(folder)
    if why := files.why_not_for_database(kind):
        fix = "Put --home on a local disk."
        return trouble("file system", f"it {why}", fix)
    return ok("file system", kind or "not known")


def disk(root: Path) -> Finding:
    """Report the free space, in bytes and in files."""
    free = shutil.disk_usage(root).free
    facts = os.statvfs(root)
    text = f"{gib_of(free)} GiB free"
    if facts.f_files and facts.f_favail < 1000:
        return warning("disk", f"{text}, but only {facts.f_favail} more files fit", "finetop clean")
    if free < LOW_DISK_BYTES:
        fix = "`finetop clean` shows what can be removed"
        return warning("disk", f"{text}: one full checkpoint of a 7B model is 14 GiB", fix)
    return ok("disk", text)


def home_settings_finding(home: Home) -> Finding:
    try:
        home_settings.load(home)
    except FinetopError as error:
        return trouble("settings", error.message, error.hint or "Fix or remove that line.")
    exists = (home.root / home_settings.FILE).exists()
    return ok("settings", f"{home_settings.FILE} is valid" if exists else "the defaults")


def strays(home: Home) -> Iterator[Finding]:
    """Report folders below runs/ that are no runs, and old copies of the database."""
    links = sorted(f.name for f in home.runs.iterdir() if f.is_symlink())
    folders = (folder for folder in home.runs.glob("*/") if not folder.is_symlink())
    bare = sorted(folder.name for folder in folders if not (folder / "run.json").is_file())
    if links:
        text = f"{listed(links)}: links, which are not followed"
        yield warning("runs", text, "Replace the link with the folder.")
    if bare:
        yield warning("runs", f"{listed(bare)}: no run.json", "Inspect it, then remove it.")
    copies = sorted(home.root.glob("finetop.duckdb.before-*"))
    if copies:
        size = sum(copy.stat().st_size for copy in copies) / 2**20
        yield ok("copies", f"{len(copies)} of the database, {size:.1f} MiB")
