"""Stands in for ssh, without a network: forwards a socket and runs the command on this machine, as another "host".

    fake_ssh.py [options] [-L local:there] -- DESTINATION COMMAND

$FAKE_SSH/hosts.json maps each destination to its home, and $FAKE_SSH/mode.DESTINATION sets how it behaves now:
"ok" (or nothing), "refused", "denied", "resolve", "silent", "noisy" (login scripts print), "blocked" (no forward).
Each call leaves a line in $FAKE_SSH/calls: its pid, its start time, and its arguments.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

SAYS = {
    "refused": "ssh: connect to host {0} port 22: Connection refused",
    "denied": "{0}: Permission denied (publickey,password).",
    "resolve": "ssh: Could not resolve hostname {0}: Name or service not known",
}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(255))
    folder = Path(os.environ["FAKE_SSH"])
    words = sys.argv[1:]
    with (folder / "calls").open("a") as calls:
        start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        calls.write(json.dumps({"pid": os.getpid(), "start": start, "words": words}) + "\n")
    destination, command = words[words.index("--") + 1 :]
    file = folder / f"mode.{destination}"
    mode = file.read_text() if file.exists() else "ok"
    if mode in SAYS:
        print(SAYS[mode].format(destination), file=sys.stderr, flush=True)
        return 255
    if mode == "silent":
        time.sleep(600)  # until it is killed
    if mode == "noisy":
        print("Welcome to the lab!\n{not json}", flush=True)
        print("stty: standard input: Inappropriate ioctl for device", file=sys.stderr, flush=True)
    if "-L" in words and mode != "blocked":
        forward(*words[words.index("-L") + 1].split(":"))
    home = json.loads((folder / "hosts.json").read_text())[destination]
    environment = {**os.environ, "FINETOP_HOME": home}
    session = subprocess.Popen(["sh", "-c", command], env=environment)
    code = session.wait()
    while threading.active_count() > 2:  # as in ssh: forwarded connections stay open
        time.sleep(0.01)  # between two looks
    return code


def forward(local: str, there: str) -> None:
    Path(local).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(local)
    listener.listen()

    def accept() -> None:
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(there)
            except OSError:
                print("channel 1: open failed: connect failed: open failed", file=sys.stderr, flush=True)
                near.close()
                continue
            threading.Thread(target=pump, args=(near, far), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def pump(near: socket.socket, far: socket.socket) -> None:
    chooser = selectors.DefaultSelector()
    chooser.register(near, selectors.EVENT_READ, far)
    chooser.register(far, selectors.EVENT_READ, near)
    try:
        while True:
            for key, _ in chooser.select():
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    return
                key.data.sendall(data)
    except OSError:
        pass
    finally:
        near.close()
        far.close()


if __name__ == "__main__":
    sys.exit(main())
