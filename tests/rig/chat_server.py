"""An OpenAI-style server on loopback that answers as a test says: well, slowly, wrongly or never."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any

Answer = Callable[["Handler"], None]


def event(text: str, **more: Any) -> bytes:
    """Return the line of a streamed piece."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass
class ChatServer:
    """The server: its address, and what it was asked."""

    url: str
    answers: list[Answer]  # the last one repeats
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)  # ends what hangs


class Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send([b'{"data": [{"id": "only-model"}]}'], kind="application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.chat.asked.append({"path": self.path, **json.loads(body)})
        self.chat.keys.append(self.headers.get("Authorization", ""))
        answer = self.chat.answers.pop(0) if len(self.chat.answers) > 1 else self.chat.answers[0]
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, pieces: Sequence[bytes], status: int = 200, kind: str = "text/event-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            self.send_more(piece)

    def send_more(self, piece: bytes) -> None:
        self.wfile.write(piece)
        self.wfile.flush()


def says(*texts: str) -> Answer:
    """Return an answer in pieces that ends well."""
    return sends(*map(event, texts), event("", finish_reason="stop"), DONE)


def sends(*pieces: bytes, status: int = 200, kind: str = "text/event-stream") -> Answer:
    """Return an answer of these bytes."""
    return lambda handler: handler.send(pieces, status, kind)


def hangs(*pieces: bytes) -> Answer:
    """Return an answer that begins with these bytes and then sends nothing more."""

    def answer(handler: Handler) -> None:
        handler.send(pieces)
        handler.chat.let_go.wait()

    return answer


def drips(texts: Iterable[str], pause_s: float) -> Answer:
    """Return an answer of these pieces, one after the other."""

    def answer(handler: Handler) -> None:
        handler.send([])
        for text in texts:
            if handler.chat.let_go.wait(pause_s):
                return
            handler.send_more(event(text))
        handler.send_more(DONE)

    return answer


def counts(most: int, pause_s: float = 0.005) -> Answer:
    """Return an answer of the numbers below `most`."""
    return drips([f"{number} " for number in range(most)], pause_s)


def never_ends(text: str = "more ") -> Answer:
    """Return an answer without an end."""
    return drips(repeat(text), 0.01)


@contextmanager
def chat_server(*answers: Answer) -> Iterator[ChatServer]:
    """Serve answers, one a request; the last one repeats."""
    own = type("OwnHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), own)
    server.daemon_threads = True
    chat = ChatServer(f"http://127.0.0.1:{server.server_port}/v1", list(answers))
    own.chat = chat  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        chat.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
