"""Copies of the database, kept beside it: of before a migration and a rebuild, the last three of each."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import sync

KEPT = 3


def wal_of(database: Path) -> Path:
    """Name the log of what was committed since the last checkpoint."""
    return database.with_name(f"{database.name}.wal")


def copy(database: Path, migration: str) -> Path:
    """Copy a database, checkpointed, before a migration: whole or not at all. Raises OSError."""
    target = database.with_name(f"{database.name}.before-{migration.removesuffix('.sql')}")
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(database, aside)
        aside.chmod(0o600)
        sync(aside)
        abort_at("copy-aside")
        aside.replace(target)
        abort_at("copy-placed")
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _prune(database, f"{database.name}.before-[0-9]*")
    return target


def swap(fresh: Path, database: Path) -> str:
    """Put a new database in the old one's place. Returns the old one's new name, empty where there was none."""
    kept = database.with_name(f"{database.name}.before-rebuild-{time.strftime('%Y%m%d-%H%M%S')}")
    sync(fresh)
    had_one = database.exists()
    if wal_of(database).exists():  # first: an old log must never meet the new file
        wal_of(database).replace(wal_of(kept))
        abort_at("log-moved")
    if had_one:
        database.replace(kept)
        abort_at("database-moved")
    fresh.replace(database)
    abort_at("database-placed")
    sync(database.parent)
    _prune(database, f"{database.name}.before-rebuild-*")
    return kept.name if had_one else ""


def _prune(database: Path, pattern: str) -> None:
    """Keep the newest few; a log goes with its database."""
    found = [file for file in database.parent.glob(pattern) if not file.name.endswith(".wal")]
    for file in sorted(found, key=lambda one: one.stat().st_mtime_ns)[:-KEPT]:
        file.unlink(missing_ok=True)
        wal_of(file).unlink(missing_ok=True)
