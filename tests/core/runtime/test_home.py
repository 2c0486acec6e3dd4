"""Which folders may be a home; others are left unchanged."""

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
    # if its mark was not copied, it is known by its database
    open_store(home.database).close()
    (home.root / MARK).unlink()
    (home.root / "notes.txt").touch()
    prepare(home)
    assert (home.root / MARK).exists()


def test_an_empty_folder_becomes_one_and_keeps_its_mode(tmp_path: Path) -> None:
    for number, names in enumerate(((), ("settings.yaml",), ("hosts.yaml", "lost+found"))):
        folder = tmp_path / str(number)
        folder.mkdir(0o755)
        for name in names:
            (folder / name).touch()
        prepare(Home(folder))
        assert mode(folder) == 0o755
        assert mode(folder / "runs") == 0o700


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    held = "is not a finetop home: it holds .*"
    for rights, names, words in (
        (0o755, ("README.md",), held + "README.md"),
        (0o755, ("runs",), held + "runs"),
        (0o755, ("models", "runs"), held + "models"),
        (0o755, (".git", "a", "b", "c"), held + ".git"),
        (0o777, (), "can be written by others"),
    ):
        folder = tmp_path / "-".join(("of", *names))
        folder.mkdir()
        folder.chmod(rights)
        for name in names:
            (folder / name).mkdir()
        with pytest.raises(EnvironmentTrouble, match=words):
            prepare(Home(folder))
        assert (mode(folder), all_in(folder)) == (rights, set(names))
    before = mode(Path("/"))
    with pytest.raises(EnvironmentTrouble):
        prepare(Home(Path("/")))
    assert mode(Path("/")) == before


def test_a_home_of_a_user_that_has_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FINETOP_HOME", raising=False)
    for users, says in (("", "HOME is empty"), (".", r"HOME is \."), ("a/b", "HOME is a/b")):
        monkeypatch.setenv("HOME", users)
        words = f"the home folder is ~/.finetop, and {says}: not an absolute path"
        with pytest.raises(EnvironmentTrouble, match=words):
            find_home()
        with pytest.raises(EnvironmentTrouble, match="--home is ~, "):
            find_home("~")
        assert find_home("/somewhere").root == Path("/somewhere")


def test_a_home_that_can_not_be_written_is_said_in_words(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(EnvironmentTrouble, match=r"can't make the home folder .*: Read-only file system"):
        prepare(Home(tmp_path))


def test_a_log_or_a_database_that_is_a_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare(home)
    home.log.symlink_to(tmp_path / "elsewhere.log")
    with pytest.raises(EnvironmentTrouble, match=r"the supervisor's log .*: a link is in its place"):
        start_supervisor(home)
    home.database.symlink_to(tmp_path / "elsewhere.duckdb")
    with pytest.raises(StoreTrouble, match="is a link"):
        open_store(home.database)
    assert all_in(tmp_path) == {"home"}
