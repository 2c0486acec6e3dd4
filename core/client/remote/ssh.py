"""The ssh command line, and what its failures mean. Hosts and keys are those of the user's ~/.ssh/config."""

from __future__ import annotations

import shlex

from finetop.core.client.remote.hosts import Place
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, NoSupervisor
from finetop.core.runtime import parts
from finetop.core.text import clean, clean_line

ALIVE_S, ALIVE_TIMES = 3, 2  # a link that is silent for 9 s is dead
CONNECT_S = 8  # an attempt made while offline retries within 4 s of coming back, a new one at once
OPTIONS = (
    "-T",
    # a separate connection: a shared one would keep our socket after this process has ended
    *("-o", "ControlMaster=no", "-o", "ControlPath=none"),
    *("-o", "RemoteCommand=none", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"),
    # another session may hold a forward of the user's own config; ours is checked separately
    *("-o", "ExitOnForwardFailure=no"),
    *("-o", "StreamLocalBindMask=0177", "-o", "StreamLocalBindUnlink=yes"),
    *("-o", f"ServerAliveInterval={ALIVE_S}", "-o", f"ServerAliveCountMax={ALIVE_TIMES}"),
    *("-o", f"ConnectTimeout={CONNECT_S}", "-o", "Compression=yes", "-o", "LogLevel=INFO"),
)


def command(place: Place, local: str, there: str, *, may_ask: bool) -> list[str]:
    """Return the ssh command that holds a session, and forwards the socket `there`, if given, to `local`."""
    forward = ["-L", f"{forwarded(local)}:{forwarded(there)}"] if there else []
    quiet = [] if may_ask else ["-o", "BatchMode=yes"]
    return ["ssh", *OPTIONS, *quiet, *forward, "--", place.destination, remote_command(place)]


def remote_command(place: Place) -> str:
    """Return the remote shell command: start a supervisor if needed, print its socket, hold until stdin closes."""
    home = ["--home", place.home] if place.home else []
    return f"{place.command} {shlex.join([*home, 'supervisor', 'start', '--json', '--hold'])}"


def forwarded(path: str) -> str:
    """Escape a socket's path for ssh -L. Raises BadInput for one that ssh would expand."""
    if "${" in path or "\n" in path:
        hint = "Give another home: --home DIR."
        raise BadInput(f"ssh can't forward the socket {clean_line(path)}.", hint=hint)
    return path.replace("\\", "\\\\").replace("%", "%%").replace(":", "\\:")


def failure(place: Place, code: int, stderr: str, *, could_ask: bool) -> tuple[FinetopError, bool]:
    """Return the error for ssh's exit code and last words, and True if retrying can't help."""
    label, last = place.label, last_words(stderr)
    if code in (126, 127):
        where = f"say where it is: --remote-command '~/venv/bin/finetop' (tried: {place.command})"
        hint = f"Install it there ({parts.INSTALL}), or {where}."
        return EnvironmentTrouble(f"{label}: its shell does not find finetop.", hint=hint), True
    if code != 255:
        if "invalid choice" in stderr:
            hint = "Upgrade it there: pip install --upgrade finetop."
            return EnvironmentTrouble(f"{label} has a finetop that is too old for this one.", hint=hint), True
        message = last.removeprefix("finetop: ") or f"finetop there ended with code {code}."
        return EnvironmentTrouble(f"{label}: {message}"), code != 0
    is_hopeless = "Permission denied" in stderr or "Host key verification failed" in stderr
    hint = _hint(place, stderr, could_ask)
    return NoSupervisor(f"can't reach {label}: {last or 'ssh printed nothing'}.", hint=hint), is_hopeless


def _hint(place: Place, stderr: str, could_ask: bool) -> str:
    if "Permission denied" in stderr and not could_ask:
        return "ssh needs your input: quit and start finetop again, or use a key in ssh-agent."
    if "Could not resolve" in stderr:
        return "Is it spelt as in ~/.ssh/config or hosts.yaml?"
    return f"Try `ssh {place.destination}` by hand."


def last_words(stderr: str) -> str:
    """Return the last meaningful line, without its full stop."""
    noise = ("Warning: Permanently added", "Killed by signal")
    lines = [line.strip() for line in clean(stderr).splitlines()]
    lines = [line for line in lines if line and not line.startswith(noise)]
    return clean_line(lines[-1], limit=200).rstrip(".") if lines else ""
