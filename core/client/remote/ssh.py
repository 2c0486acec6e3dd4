"""How ssh is called, and what its failures mean. Whom it asks and by which keys is the user's ~/.ssh/config."""

from __future__ import annotations

import shlex

from finetop.core.client.remote.hosts import Place
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, NoSupervisor
from finetop.core.text import clean, clean_line

ALIVE_S, ALIVE_TIMES = 3, 2  # a link that says nothing for 9 s is dead
CONNECT_S = 8  # an attempt begun while the cable was out asks again within 4 s, a new one at once
OPTIONS = (
    "-T",
    # a connection of its own: a shared one would keep our socket after we are gone
    *("-o", "ControlMaster=no", "-o", "ControlPath=none"),
    *("-o", "RemoteCommand=none", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"),
    # a forward of the user's own config may be taken by another session; ours is looked at by itself
    *("-o", "ExitOnForwardFailure=no"),
    *("-o", "StreamLocalBindMask=0177", "-o", "StreamLocalBindUnlink=yes"),
    *("-o", f"ServerAliveInterval={ALIVE_S}", "-o", f"ServerAliveCountMax={ALIVE_TIMES}"),
    *("-o", f"ConnectTimeout={CONNECT_S}", "-o", "Compression=yes", "-o", "LogLevel=INFO"),
)


def command(place: Place, local: str, there: str, *, may_ask: bool) -> list[str]:
    """Return the words that start ssh: it holds a session there, and forwards the socket `there` to `local`.

    Without `there` nothing is forwarded. With `may_ask` ssh may ask for a password on the terminal.
    """
    forward = ["-L", f"{forwarded(local)}:{forwarded(there)}"] if there else []
    quiet = [] if may_ask else ["-o", "BatchMode=yes"]
    return ["ssh", *OPTIONS, *quiet, *forward, "--", place.destination, on_the_other_side(place)]


def on_the_other_side(place: Place) -> str:
    """Return the shell's words there: start a supervisor if there is none, say where it is, hold until we go."""
    home = ["--home", place.home] if place.home else []
    return f"{place.command} {shlex.join([*home, 'supervisor', 'start', '--json', '--hold'])}"


def forwarded(path: str) -> str:
    """Write a socket's path as ssh -L takes it. Raises BadInput for one that ssh would expand."""
    if "${" in path or "\n" in path:
        raise BadInput(
            f"ssh can't forward the socket {clean_line(path)}.", hint="Give another home: --home DIR."
        )
    return path.replace("\\", "\\\\").replace("%", "%%").replace(":", "\\:")


def failure(place: Place, code: int, said: str, *, could_ask: bool) -> tuple[FinetopError, bool]:
    """Say why it ended, from ssh's exit code and last words; and whether trying again can't help."""
    label, last = place.label, last_words(said)
    if code in (126, 127):
        hint = (
            f"Install it there (pip install finetop), or say where it is: --remote-command '~/venv/bin/finetop'"
            f" (tried: {place.command})."
        )
        return EnvironmentTrouble(f"{label}: its shell does not find finetop.", hint=hint), True
    if code != 255:
        if "invalid choice" in said:
            hint = "Upgrade it there: pip install --upgrade finetop."
            return EnvironmentTrouble(f"{label} has a finetop that is too old for this one.", hint=hint), True
        words = last.removeprefix("finetop: ") or f"finetop there ended with code {code}."
        return EnvironmentTrouble(f"{label}: {words}"), code != 0
    return NoSupervisor(
        f"{label} is out of reach: {last or 'ssh printed nothing'}.", hint=_hint(place, said, could_ask)
    ), ("Permission denied" in said or "Host key verification failed" in said)


def _hint(place: Place, said: str, could_ask: bool) -> str:
    if "Permission denied" in said and not could_ask:
        return "ssh needs your input: quit and start finetop again, or use a key in ssh-agent."
    if "Could not resolve" in said:
        return "Is it spelt as in ~/.ssh/config or hosts.yaml?"
    return f"Try `ssh {place.destination}` by hand."


def last_words(said: str) -> str:
    """Return the last line that says something, without its end."""
    lines = [line.strip() for line in clean(said).splitlines() if line.strip()]
    lines = [
        line for line in lines if not line.startswith(("Warning: Permanently added", "Killed by signal"))
    ]
    return clean_line(lines[-1], limit=200).rstrip(".") if lines else ""
