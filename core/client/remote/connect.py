"""Open the homes that `--on` names: one link per machine, several at once, all closed at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from finetop.core.client.remote.hosts import Place, read_places, usual_places
from finetop.core.client.remote.tunnel import Tunnel
from finetop.core.errors import FinetopError
from finetop.core.runtime.files import empty_path
from finetop.core.runtime.home import Home, find_home

HOSTS = "hosts.yaml"
SOCKETS = "hosts.sockets.json"  # the paths of the remote sockets at the last connection


@contextmanager
def open_homes(
    host_words: Sequence[str], *, home: str | None, command: str = "", say: bool = True
) -> Iterator[list[Home]]:
    """Open the homes on the named machines, in that order; `home` and `command` are paths on those machines.

    A single machine raises its error. Of several, those out of reach are retried for as long as this lasts; it raises
    only if none can be reached. With `say`, stderr reports when a link drops and when it is back.
    """
    if home is not None and not home.strip():
        raise empty_path("--home")
    here = find_home()
    places = read_places(host_words, usual_places(here.root / HOSTS), command=command, home=home or "")
    with ExitStack() as stack:
        memory = here.root / SOCKETS
        links = [
            stack.enter_context(_link(place, memory, say)) if place.destination else None for place in places
        ]
        _open([link for link in links if link is not None], is_alone=len(places) == 1)
        yield [find_home(home) if link is None else Home(_root_of(link), link) for link in links]


@contextmanager
def _link(place: Place, memory: Path, say: bool) -> Iterator[Tunnel]:
    def heard(is_up: bool, why: str) -> None:
        status = f"{place.label} is back." if is_up else f"can't reach {place.label} ({why}); trying again …"
        print(f"finetop: {status}", file=sys.stderr, flush=True)

    tunnel = Tunnel(place, memory=memory, heard=heard if say else None)
    try:
        yield tunnel
    finally:
        tunnel.close()


def _root_of(link: Tunnel) -> Path:
    greeting = link.greeting
    return Path(link.place.home or "~/.finetop" if greeting is None else greeting.supervisor.home)


def _open(links: Sequence[Tunnel], *, is_alone: bool) -> None:
    if is_alone:
        for link in links:
            link.open()
        return
    errors = _open_together(links)
    for link, error in errors.items():
        if "Permission denied" in str(error):  # ssh may need a password: one after the other, on the terminal
            try:
                link.open()
                continue
            except FinetopError as refused:
                error = refused
        print(f"finetop: {error}", file=sys.stderr)
        link.keep()
    if links and len(errors) == len(links) and not any(link.is_up for link in links):
        raise next(iter(errors.values()))


def _open_together(links: Sequence[Tunnel]) -> dict[Tunnel, FinetopError]:
    """Connect to several at once, with ssh not allowed to ask for input. Returns the errors."""
    errors: dict[Tunnel, FinetopError] = {}

    def connect(link: Tunnel) -> None:
        try:
            link.open(may_ask=False)
        except FinetopError as error:
            errors[link] = error

    threads = [threading.Thread(target=connect, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {link: errors[link] for link in links if link in errors}
