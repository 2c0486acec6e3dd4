"""Which folders may be a home; others are left unchanged."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from finetop.core.client.connection import start_supervisor
from finetop.core.errors import EnvironmentTrouble, StoreTrouble
from finetop.core.runtime.home import MARK, Home, find_home, prepare
from finetop.core.store.database import open_store


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def all_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_home_that_is_not_there_is_made_for_the_owner_and_marked(tmp_path: Path) -> None:
    home = Home(tmp_path / "above" / "home")
    prepare(home)
    assert [mode(folder) for folder in (home.root, home.runs, home.scores, home.models)] == [0o700] * 4
    assert (home.root / MARK).is_file()
    prepare(home)


@pytest.mark.parametrize("names", [(), ("settings.yaml",), ("hosts.yaml", "lost+found")])
def test_an_empty_folder_becomes_one_and_keeps_its_mode(tmp_path: Path, names: tuple[str, ...]) -> None:
    tmp_path.chmod(0o755)
    for name in names:
        (tmp_path / name).touch()
    prepare(Home(tmp_path))
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "runs") == 0o700


def test_a_home_whose_mark_was_not_copied_is_known_by_its_database(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare(home)
    open_store(home.database).close()
    (home.root / MARK).unlink()
    (home.root / "notes.txt").touch()
    prepare(home)
    assert (home.root / MARK).exists()


@pytest.mark.parametrize("names", [("README.md",), ("runs",), ("models", "runs"), (".git", "a", "b", "c")])
def test_a_folder_of_something_else_is_refused_and_left_as_it_was(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    tmp_path.chmod(0o755)
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(EnvironmentTrouble, match="is not a finetop home: it holds ") as refused:
        prepare(Home(tmp_path))
    assert names[0] in refused.value.message
    assert (mode(tmp_path), all_in(tmp_path)) == (0o755, set(names))


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(EnvironmentTrouble, match="can be written by others"):
        prepare(Home(tmp_path))
    assert (mode(tmp_path), all_in(tmp_path)) == (0o777, set())


@pytest.mark.parametrize(
    ("users", "says"), [("", "HOME is empty"), (".", r"HOME is \."), ("a/b", "HOME is a/b")]
)
def test_a_home_of_a_user_that_has_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch, users: str, says: str
) -> None:
    monkeypatch.setenv("HOME", users)
    monkeypatch.delenv("FINETOP_HOME", raising=False)
    with pytest.raises(
        EnvironmentTrouble, match=f"the home folder is ~/.finetop, and {says}: not an absolute path"
    ):
        find_home()
    with pytest.raises(EnvironmentTrouble, match="--home is ~, "):
        find_home("~")
    assert find_home("/somewhere").root == Path("/somewhere")


def test_the_root_of_the_machine_is_refused() -> None:
    before = mode(Path("/"))
    with pytest.raises(EnvironmentTrouble):
        prepare(Home(Path("/")))
    assert mode(Path("/")) == before


def test_a_database_that_is_a_link_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare(home)
    home.database.symlink_to(tmp_path / "elsewhere.duckdb")
    with pytest.raises(StoreTrouble, match="is a link"):
        open_store(home.database)
    assert not (tmp_path / "elsewhere.duckdb").exists()


def test_a_home_that_can_not_be_written_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(EnvironmentTrouble, match=r"can't make the home folder .*: Read-only file system"):
        prepare(Home(tmp_path))


def test_a_log_that_is_a_link_is_said_in_words_and_not_followed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare(home)
    home.log.symlink_to(tmp_path / "elsewhere.log")
    with pytest.raises(EnvironmentTrouble, match=r"the supervisor's log .*: a link is in its place"):
        start_supervisor(home)
    assert not (tmp_path / "elsewhere.log").exists()
