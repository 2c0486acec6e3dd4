"""An OpenAI-style server: `/chat/completions`, streamed. What it does wrong becomes one clear line.

Whatever it sends, and however slowly: a request ends when its answer does, when a user stops it, after the most tokens,
or when nothing of an answer has come for a while. Its key is sent to this address alone, and is in no message.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, quote, urlsplit

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.chat.sides import Answered, Opening, Request, SideKind, Why, Writer
from finetop.core.features.chat.sides._replies import message_of, piece_of, tokens_of
from finetop.core.runtime.secrets import MASK, require_sendable
from finetop.core.text import clean_line, quoted

if TYPE_CHECKING:
    from finetop.core.features.chat.messages import ChatSide
    from finetop.core.features.chat.transcript import Side

CONNECT_S = 10.0
FIRST_S = 120.0  # until the first piece: a large model may have to be loaded
SILENT_S = 60.0  # between two pieces
LOOK_S = 0.05  # between two looks at the time and a user's stop
LINE_BYTES = 1 << 20  # of a line of the stream
BODY_BYTES = 4 << 20  # of an answer that is not streamed
SHOWN = 160  # characters of what it says
ENDS: dict[str, Why] = {"length": "length", "max_tokens": "length"}


class Endpoint(SideKind):
    about = "an OpenAI-style server"

    def check(self, side: ChatSide) -> None:
        address_of(side.url)

    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        key = opening.keys.get(place, "")
        if side.side.key_env and not key:
            hint = "Open the chat again, where it is set."
            raise EnvironmentTrouble(
                f"{side.side.label}: its key is not here ({side.side.key_env}).", hint=hint
            )
        require_sendable(side.side.key_env, key)
        return EndpointWriter(address_of(side.side.url), side.side.model, key, side.side.key_env)


def address_of(url: str) -> SplitResult:
    """Parse an endpoint's address. Raises BadInput for one that is none, or that holds a key."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_valid = False
    if not is_valid or any(character.isspace() for character in url):
        hint = "Such as http://localhost:8000/v1."
        raise BadInput(f"the endpoint {quoted(url)} is not an address.", hint=hint)
    if parts.username or parts.password or parts.query:
        hint = "Put it into a variable and name that: --key-env NAME."
        raise BadInput("the endpoint's address seems to hold a key, which would be stored.", hint=hint)
    return parts


class Trouble(EnvironmentTrouble):
    """What an endpoint does wrong."""


class Stopped(Exception):
    """A user wanted no more of an answer before it began."""


@dataclass
class EndpointWriter(Writer):
    """Answers by asking a server."""

    address: SplitResult
    model: str
    key: str = field(repr=False)
    key_env: str
    answers_alone = False

    @property
    def shown(self) -> str:
        """Return its address as messages have it."""
        return f"{self.address.scheme}://{self.address.netloc}{self.address.path.rstrip('/')}"

    def answer(self, request: Request) -> Answered:
        try:
            self.model = self.model or self.first_model(request)
            return self.ask(request)
        except Stopped:
            return Answered("stopped", 0)
        except Trouble as error:  # whatever the server put where: its key is in no message
            raise Trouble(self.masked(error.message), hint=self.masked(error.hint)) from None

    def ask(self, request: Request) -> Answered:
        """Ask, and pass on what is answered. Raises Trouble, Stopped."""
        settings = request.settings
        asked: dict[str, Any] = {
            "model": self.model,
            "stream": True,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": settings.seed,
            "max_tokens": settings.max_new_tokens,
        }
        if settings.raw:
            path, asked["prompt"] = "completions", request.messages[-1].content
        else:
            path = "chat/completions"
            asked["messages"] = [
                {"role": message.role, "content": message.content} for message in request.messages
            ]
        with self.watched(request) as call:
            response = call.send("POST", path, json.dumps(asked).encode())
            return self.stream(call, response, request)

    def first_model(self, request: Request) -> str:
        """Return the first model that the server lists. Raises Trouble."""
        with self.watched(request) as call:
            response = call.send("GET", "models", None)
            try:
                models = json.loads(response.read(BODY_BYTES))["data"]
                return str(models[0]["id"])
            except (ValueError, LookupError, TypeError) as error:
                hint = "Name the model: --endpoint-model NAME."
                raise Trouble(f"{self.shown} lists no model.", hint=hint) from error

    @contextmanager
    def watched(self, request: Request) -> Iterator[Call]:
        """Yield a call that is cut off on time; turn what fails into Trouble."""
        call = Call(self, request)
        watch = threading.Thread(target=call.watch, daemon=True)
        watch.start()
        try:
            yield call
        except (Trouble, Stopped):
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            call.raise_cut()
            raise Trouble(f"{self.shown}: {fault_words(error)}.") from error
        finally:
            call.close()

    def stream(self, call: Call, response: http.client.HTTPResponse, request: Request) -> Answered:
        """Pass on the pieces of an answer. Raises Trouble for one that is none."""
        kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise Trouble(f"{self.shown} answers with a web page.", hint="Is it the address of the API? …/v1")
        if kind == "application/json":  # it does not stream
            text = response.read(BODY_BYTES).decode("utf-8", "replace")
            call.raise_cut()
            return self.whole(request, text)
        tokens, first_s, prompt_tokens, began = 0, 0.0, 0, time.monotonic()
        why: Why | None = None
        for data in call.events(response):
            if request.is_stopped() or data == "[DONE]":
                why = "stopped" if request.is_stopped() else why or "end"
                break
            event = self.decoded(data)
            text, reason = piece_of(event)
            prompt_tokens = tokens_of(event, "prompt_tokens") or prompt_tokens
            if text:
                call.progress()
                tokens += 1
                first_s = first_s or time.monotonic() - began
                request.piece(text)
            if reason:
                why = ENDS.get(reason, "end")
            if tokens >= request.settings.max_new_tokens and why is None:
                why = "length"
                break
        if call.cut == "stopped":
            why = "stopped"
        if why is None:
            call.raise_cut()
            raise Trouble(f"{self.shown} broke off in the middle of the answer.")
        return Answered(why, tokens, first_s, prompt_tokens)

    def whole(self, request: Request, text: str) -> Answered:
        """Take an answer that came as a whole."""
        began = time.monotonic()
        event = self.decoded(text)
        answer, reason = piece_of(event)
        request.piece(answer)
        tokens, took_s = tokens_of(event, "completion_tokens"), time.monotonic() - began
        return Answered(ENDS.get(reason, "end"), tokens, took_s, tokens_of(event, "prompt_tokens"))

    def decoded(self, text: str) -> dict[str, Any]:
        """Decode one event. Raises Trouble for one that is no event, or an error of the server's."""
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise Trouble(f"{self.shown} sent what is not JSON: {self.said(text)}.")
        if event.get("error"):
            raise Trouble(f"{self.shown}: {self.said(message_of(text) or text)}.")
        return event

    def said(self, text: str) -> str:
        """Quote what the server said, without a key that it repeats."""
        return clean_line(self.masked(text), limit=SHOWN).rstrip(".")

    def masked(self, text: str) -> str:
        """Replace the key in a text, also as an address or JSON writes it. Before a text is cut: a half is one too."""
        for form in {self.key, quote(self.key, safe=""), json.dumps(self.key)[1:-1]} - {""}:
            text = text.replace(form, MASK)
        return text

    def refused(self, response: http.client.HTTPResponse) -> Trouble:
        """Return the trouble of a status other than 200."""
        status, body = response.status, response.read(LINE_BYTES).decode("utf-8", "replace")
        said = message_of(body)
        words = f": {self.said(said)}" if said else ""
        if status in (401, 403):
            hint = f"It is in {self.key_env}." if self.key_env else "Set OPENAI_API_KEY, or --key-env NAME."
            what = "refuses the key" if self.key else "wants a key"
            return Trouble(f"{self.shown} {what} ({status}){words}.", hint=hint)
        if status == 404:
            hint = "Give the base address, such as http://localhost:8000/v1, and a model that it has."
            return Trouble(f"{self.shown} has no such page or model (404){words}.", hint=hint)
        if 300 <= status < 400:
            place = self.said(response.getheader("Location", ""))
            return Trouble(f"{self.shown} redirects to {place}.", hint="Give that address.")
        return Trouble(
            f"{self.shown} answers {status} {clean_line(self.masked(response.reason), limit=40)}{words}."
        )


class Call:
    """One request, and the watch over it, which cuts the connection: then whatever waits for it returns."""

    def __init__(self, writer: EndpointWriter, request: Request) -> None:
        self.writer, self.request = writer, request
        self.cut: Literal["", "silent", "stopped"] = ""
        self.limit_s = FIRST_S
        self._heard = time.monotonic()
        self._is_over = threading.Event()
        address = writer.address
        assert address.hostname is not None
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(address.hostname, address.port, timeout=CONNECT_S)
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None

    def send(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        """Send a request and return the head of its answer. Raises OSError, HTTPException, Trouble for a refusal."""
        headers = {"Accept": "text/event-stream, application/json", "Content-Type": "application/json"}
        if self.writer.key:
            headers["Authorization"] = f"Bearer {self.writer.key}"
        own = self.writer.address.path.rstrip("/").removesuffix("/chat/completions")
        self._connection.connect()
        self._socket = self._connection.sock
        self._socket.settimeout(None)  # the watch keeps the time
        self._connection.request(method, f"{own}/{path}", body, headers)
        self._response = response = self._connection.getresponse()
        if response.status != 200:
            raise self.writer.refused(response)
        return response

    def events(self, response: http.client.HTTPResponse) -> Iterator[str]:
        """Yield the data of the events of a stream, until it ends or is cut."""
        while True:
            try:
                line = response.readline(LINE_BYTES)
            except (OSError, http.client.HTTPException, ValueError):
                if self.cut:
                    return
                raise
            if not line:
                return
            if len(line) >= LINE_BYTES:
                raise Trouble(f"{self.writer.shown} sent a line longer than {LINE_BYTES >> 20} MiB.")
            if not line.endswith(b"\n"):
                return  # the connection broke within it
            text = line.decode("utf-8", "replace").strip()
            name, colon, data = text.partition(":")
            if not text or (colon and name in ("", "event", "id", "retry")):
                continue  # between events, a comment that keeps the connection, or what no answer needs
            yield data.strip() if colon and name == "data" else text

    def raise_cut(self) -> None:
        """Raise Trouble or Stopped if the connection was cut."""
        if self.cut == "silent":
            raise Trouble(f"{self.writer.shown} has sent nothing for {self.limit_s:.0f} s.")
        if self.cut == "stopped":
            raise Stopped

    def progress(self) -> None:
        """Note that a piece of the answer came."""
        self._heard, self.limit_s = time.monotonic(), SILENT_S

    def watch(self) -> None:
        """Cut the connection when it is time, or a user wants no more."""
        while not self._is_over.wait(LOOK_S):
            if self.request.is_stopped():
                self.cut = "stopped"
            elif time.monotonic() - self._heard > self.limit_s:
                self.cut = "silent"
            if self.cut and self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                return

    def close(self) -> None:
        self._is_over.set()
        if self._response is not None:
            self._response.close()
        self._connection.close()


def fault_words(error: Exception) -> str:
    """Return what failed, in words without the library's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS: try http://"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_S:.0f} s"
    if isinstance(error, http.client.HTTPException):
        return "it does not speak HTTP, or broke off"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return clean_line(str(error), limit=SHOWN) or type(error).__name__


PLUGIN = Endpoint()
