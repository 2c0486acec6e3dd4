"""Sends one message to a command or a webhook: `python -m finetop.core.supervisor.notify.send`.

Reads one line of JSON from standard input: {"body": …, "limit_s": 20, "command": [...]} or
{…, "address": …, "proxy": false}; an address is a secret, and appears nowhere else. Exit code 0: accepted. The end of
the command's output or the server's status goes to standard output. After `limit_s` everything is killed, including
what the command started in sessions of its own. Standard library only: it starts in 40 ms, and a hang here affects
nothing else.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from finetop.core.runtime import keeper

KEPT_BYTES = 2000  # end of a command's output
PASSED_ON = (  # environment variables; no command needs the tokens that may be in others
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY",
)  # fmt: skip


def main() -> int:
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    limit_s = float(order["limit_s"])
    if "command" in order:
        return run(list(order["command"]), str(order["body"]), limit_s)
    from finetop.core.supervisor.notify.webhook import post

    # its default ends the process, wherever it hangs: in a resolver
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    error = post(str(order["address"]), str(order["body"]), limit_s, proxy=order["proxy"] is True)
    print(error or "taken")
    return 1 if error else 0


def run(command: list[str], body: str, limit_s: float) -> int:
    """Run a command with the message on its standard input and nowhere else."""
    keeper.become_subreaper()
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    try:
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=both, env=environment, cwd="/", start_new_session=True
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}")
        return 1
    assert process.stdin is not None and process.stdout is not None
    deadline = time.monotonic() + limit_s
    try:
        process.stdin.write(body.encode() + b"\n")  # a pipe holds 64 KiB: this does not block
        process.stdin.close()
    except OSError:
        pass  # the command does not read its input
    output = tail(process, deadline).rstrip()
    code = process.poll()
    keeper.end_all()
    if code is None:
        output += f"\nit took longer than {limit_s:g} s, and was killed"
    elif code:
        output += f"\nit ended with {f'signal {-code}' if code < 0 else f'code {code}'}"
    print(output.strip())
    return 0 if code == 0 else 1


def tail(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Return the end of a command's output, read until it ends or is late."""
    assert process.stdout is not None
    pipe, output, is_open = process.stdout.fileno(), b"", True
    os.set_blocking(pipe, False)
    while process.poll() is None and time.monotonic() < deadline:
        wait_s = min(0.05 if not is_open else 0.5, max(0.0, deadline - time.monotonic()))
        if is_open and select.select([pipe], [], [], wait_s)[0]:
            more = os.read(pipe, 65536)
            is_open = bool(more)
            output = (output + more)[-KEPT_BYTES:]
        elif not is_open:
            time.sleep(wait_s)
    while is_open and select.select([pipe], [], [], 0)[0]:  # what a command that has ended left in the pipe
        more = os.read(pipe, 65536)
        if not more or time.monotonic() > deadline + 1:
            break
        output = (output + more)[-KEPT_BYTES:]
    return output.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
