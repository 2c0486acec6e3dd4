"""A webhook on this machine: an HTTP server that keeps what is posted, and answers as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """What was posted, and the answers: a list of statuses, the last of which repeats."""

    address: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    location: str = ""  # for a redirect
    may_answer: threading.Event = field(default_factory=threading.Event)  # set, until a test clears it
    body: bytes = b"ok"
    got: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(path: str = "/hook") -> Iterator[Hook]:
    hook = Hook()
    hook.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.heads.append(dict(self.headers.items()))
            hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            hook.may_answer.wait()
            self.send_response(hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0])
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", str(len(hook.body)))
            self.end_headers()
            try:
                self.wfile.write(hook.body)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.address = f"http://127.0.0.1:{server.server_port}{path}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
