"""Commands as typed, run in the test's own process."""

import pytest
from rig import Rig

from finetop.core.commands.main import main
from finetop.core.runtime.home import Home


@pytest.fixture
def command(capfd):
    """Return a function that runs one command: (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main(list(arguments))
        return (code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory):
    """A home with the real supervisor on fake jobs, for a file whose tests do not mind each other's runs."""
    rig = Rig(Home(tmp_path_factory.mktemp("shared") / "home"))
    rig.up()
    yield rig
    rig.stop_all()


@pytest.fixture
def finetop_of(command, monkeypatch):
    """Return a function that makes commands run on a home."""

    def of(home):
        monkeypatch.setenv("FINETOP_HOME", str(home.root))
        return command

    return of


@pytest.fixture
def finetop(rig, finetop_of):
    """Run one command on the rig's home."""
    return finetop_of(rig.home)
