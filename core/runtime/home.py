"""The home folder, which holds runs, scores, models, the database and the supervisor's socket.

HOME/finetop-home                 marks the folder as a home: no other folder is used as one
HOME/finetop.duckdb               the store, opened only by the supervisor
HOME/supervisor.{lock,sock,log}   exactly one supervisor per home
HOME/runs/0007-support-tone/      a run: recipe.yaml, run.json, checkpoints/, jobs/0012-train/
HOME/scores/KEY.jsonl             item scores of one model under one full key, reused by every check
HOME/selected/random-200-….jsonl   rows selected for a curve, with how they were chosen
HOME/models/NAME/                 models converted once to safetensors
HOME/hosts.yaml                   names of other machines for --on (written by hand; see client/remote/hosts.py)
HOME/retrieval/KEY/              an index over documents, keyed by their content and chunking
HOME/trash/0007-support-tone/     removed runs
HOME/{store.json,settings.yaml}   what belongs to no run; the user's settings
HOME/app.json                     columns of the app's list (see tui/screens/runs)
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime.files import empty_path, open_own
from finetop.core.text import clean_line

ANOTHER = "Pick another with --home or FINETOP_HOME."
MARK = "finetop-home"
MARKS = {MARK, "finetop.duckdb"}  # the second marks a home whose mark was not copied with it
# what may exist before the first start: written by hand, by the app, or when looking at other machines
BY_HAND = {
    "settings.yaml",
    "hosts.yaml",
    "hosts.sockets.json",
    "suites",
    "lost+found",
    "app.json",
    "app-fault.txt",
}
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's sun_path holds 108 with its closing NUL
DATABASE_FOLDER = "FINETOP_DATABASE"  # of the environment
HERE = "here"  # label of this machine in lists of several


class Link(Protocol):
    """The connection to a home on another machine; finetop.core.client.remote.tunnel.Tunnel is one."""

    @property
    def label(self) -> str: ...

    @property
    def word(self) -> str:
        """The argument of `--on` for it."""

    @property
    def socket(self) -> Path:
        """The local socket that leads to the remote supervisor."""

    @property
    def is_up(self) -> bool: ...

    def wait(self) -> None:
        """Wait until it is up. Raises FinetopError if it won't be."""

    def why_down(self) -> str:
        """Describe its state in a sentence."""

    def try_now(self) -> None:
        """Retry at once; if it is up, reconnect, which starts a remote supervisor if there is none."""


@dataclass(frozen=True)
class Home:
    """A home folder; with a `link`, one on another machine: its paths are paths there."""

    root: Path
    link: Link | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """A word for its machine."""
        return HERE if self.link is None else self.link.label

    @property
    def shown(self) -> str:
        """The home as shown to the user: lab:/home/ana/.finetop on another machine."""
        return str(self.root) if self.link is None else f"{self.link.label}:{self.root}"

    @property
    def database(self) -> Path:
        """The store: in the home, or in a local folder if the home is on a shared file system."""
        folder = os.environ.get(DATABASE_FOLDER)
        if not folder or self.link is not None:
            return self.root / "finetop.duckdb"
        return Path(folder).absolute() / f"finetop-{_digest(self.root)}.duckdb"

    @property
    def lock(self) -> Path:
        return self.root / "supervisor.lock"

    @property
    def log(self) -> Path:
        return self.root / "supervisor.log"

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the home, or in the user's runtime folder if the path is too long."""
        if self.link is not None:
            return self.link.socket
        inside = self.root / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/finetop-{os.getuid()}")
        return runtime / f"finetop-{_digest(self.root)}.sock"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    def run_folder(self, run_id: int, name: str) -> Path:
        return self.runs / f"{run_id:04d}-{name}"


def _digest(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:16]


def find_home(path: str | None = None) -> Home:
    """Return the home folder: the given one, else FINETOP_HOME, else ~/.finetop.

    An empty path is refused instead of using the default: it is what an unset shell variable leaves behind, and
    `finetop clean --yes --home "$X"` would delete from another home than intended. Raises BadInput, EnvironmentTrouble.
    """
    variable = os.environ.get("FINETOP_HOME")
    chosen = path if path is not None else variable if variable is not None else "~/.finetop"
    source = "--home" if path is not None else "the home folder" if variable is None else "FINETOP_HOME"
    for name, value in ((source, chosen), (DATABASE_FOLDER, os.environ.get(DATABASE_FOLDER))):
        if value is not None and not value.strip():
            raise empty_path(name)
    if chosen == "~" or chosen.startswith("~/"):
        users = os.environ.get("HOME")
        if users is not None and not users.startswith("/"):
            shown = f"{clean_line(chosen, limit=80)}, and HOME is {clean_line(users, limit=80) or 'empty'}"
            hint = "Set HOME, or give --home or FINETOP_HOME a path that begins with /."
            raise EnvironmentTrouble(f"{source} is {shown}: not an absolute path.", hint=hint)
    try:
        return Home(Path(chosen).expanduser().absolute())
    except RuntimeError as error:  # ~nobody, or no HOME
        message = f"{source} is {clean_line(chosen, limit=80)}: no such user."
        raise EnvironmentTrouble(message, hint=ANOTHER) from error


def is_made(home: Home) -> bool:
    """Return whether a home exists; an empty folder, or one with settings alone, does not count yet.

    Raises EnvironmentTrouble if none can be there: a file, another user's folder, a folder of other things.
    """
    with making("the home folder", home.root):
        try:
            names = set(os.listdir(home.root))  # noqa: PTH208
        except FileNotFoundError:
            if os.path.lexists(home.root):  # a broken link
                raise FileExistsError from None
            return False
        require_own(home.root)
        require_home(home.root)
    return bool(names & MARKS)


def make(home: Home) -> None:
    """Create a home in an empty or missing folder; one in use is left as it is. Raises EnvironmentTrouble."""
    if not home.root.is_dir() or not set(os.listdir(home.root)) - BY_HAND:  # noqa: PTH208
        prepare(home)


def prepare(home: Home) -> None:
    """Create the home and its folders, for the owner only (0700); existing folders keep their mode.

    Raises EnvironmentTrouble if it can't be created, belongs to another user, or is used for something else.
    """
    with making("the home folder", home.root):
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_own(home.root)
        require_home(home.root)
        mark = open_own(home.root / MARK, os.O_WRONLY | os.O_CREAT)
        os.close(mark)
        for folder in (home.runs, home.scores, home.models):
            folder.mkdir(mode=0o700, exist_ok=True)
            require_own(folder)
    _make_beside(home, "the database's folder", home.database.parent)
    make_room_for_socket(home)


def make_room_for_socket(home: Home) -> None:
    """Create the socket's folder if it is not in the home. Raises EnvironmentTrouble."""
    _make_beside(home, "the socket's folder", home.socket.parent)


def _make_beside(home: Home, what: str, folder: Path) -> None:
    if folder != home.root:
        with making(what, folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            require_own(folder, may_be_link=False)  # in /tmp, another user may have put a link there first


def require_home(folder: Path) -> None:
    """Raise EnvironmentTrouble if a folder holds other things: a project, a user's whole folder, /."""
    names = set(os.listdir(folder))  # noqa: PTH208
    other_names = sorted(names - BY_HAND)
    if other_names and not names & MARKS:
        shown = ", ".join(clean_line(name, limit=30) for name in other_names[:3])
        more = f" and {len(other_names) - 3} more" if len(other_names) > 3 else ""
        message = f"{clean_line(str(folder), limit=100)} is not a finetop home: it holds {shown}{more}."
        raise EnvironmentTrouble(message, hint="Give --home or FINETOP_HOME an empty or new folder.")


@contextmanager
def making(subject: str, folder: Path) -> Iterator[None]:
    """Raise EnvironmentTrouble with the reason if a folder can't be created meanwhile."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError is a NUL
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        is_link = getattr(error, "errno", None) == errno.ELOOP
        reason = getattr(error, "strerror", None) or str(error)
        reason = "a file is in its place" if is_file else "a link is in its place" if is_link else reason
        shown = clean_line(str(folder), limit=100)
        raise EnvironmentTrouble(f"can't make {subject} {shown}: {reason}.", hint=ANOTHER) from error


def require_own(folder: Path, *, may_be_link: bool = True) -> None:
    """Raise EnvironmentTrouble for another user's folder or link, or a folder that others can write to."""
    link = folder.lstat()
    if stat.S_ISLNK(link.st_mode) and (not may_be_link or link.st_uid not in (os.getuid(), 0)):
        raise EnvironmentTrouble(f"{folder} is a link, made by user {link.st_uid}.", hint=ANOTHER)
    facts = folder.stat()
    if facts.st_uid != os.getuid():
        raise EnvironmentTrouble(f"{folder} belongs to user {facts.st_uid}.", hint=ANOTHER)
    if facts.st_mode & 0o022:
        hint = f"Close it (chmod go-w {folder}), or pick another home."
        raise EnvironmentTrouble(f"{folder} can be written by others.", hint=hint)
