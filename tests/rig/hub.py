"""A stand-in of the Hugging Face hub on loopback, to which huggingface_hub's own code uploads."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from finetop.core.data.hub import HUB_ID

TOKEN = "hf_" + "StandIn7" * 5
LARGE = (".safetensors", ".gguf", ".png")  # uploaded as LFS objects


@dataclass
class Hub:
    """What it holds, what was sent to it, and how it misbehaves."""

    port: int = 0
    private: dict[str, bool] = field(default_factory=dict)  # by repository
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # of its newest commit
    objects: dict[str, bytes] = field(default_factory=dict)  # of LFS, by sha256
    commits: list[str] = field(default_factory=list)  # their messages
    puts: list[str] = field(default_factory=list)  # objects that were sent whole
    holds_after: int | None = None  # objects that it takes before it holds the next one
    is_holding: threading.Event = field(default_factory=threading.Event)
    refuses: int = 0  # a status for whoever creates a repository
    licence: str = "apache-2.0"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, content: Any, status: int = 200) -> None:
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        hub = self.hub
        match = re.match(r"/api/(models|datasets)/([^/]+/[^/?]+)(/tree/)?", self.path)
        if match and match[3]:
            held = {path: len(content) for path, content in hub.files.get(match[2], {}).items()}
            facts = {"type": "file", "oid": "0" * 40}
            self.reply([{**facts, "path": path, "size": size} for path, size in held.items()])
        elif match and match[2] in hub.private:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.reply({"error": "Invalid username or password."}, 401)
                return
            self.reply({"id": match[2], "private": hub.private[match[2]], "siblings": [], "tags": []})
        elif match and match[2] == HUB_ID:
            card = {"license": hub.licence}
            self.reply({"id": match[2], "private": False, "siblings": [], "tags": [], "cardData": card})
        else:
            self.reply({"error": "no such page"}, 404)

    def do_PUT(self) -> None:
        hub, oid = self.hub, self.path.rpartition("/")[2]
        if hub.holds_after is not None and len(hub.puts) >= hub.holds_after:
            hub.is_holding.set()
            self.close_connection = True
            while self.rfile.read(1 << 16):  # until whoever uploads is gone
                pass
            return
        hub.objects[oid] = self.body()
        hub.puts.append(oid)
        self.reply({})

    def do_POST(self) -> None:
        content = self.body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.create(json.loads(content))
        elif self.path == "/api/validate-yaml":
            metadata = yaml.safe_load(json.loads(content)["content"].split("---\n")[1])
            errors = [] if isinstance(metadata, dict) else [{"message": "no metadata"}]
            self.reply({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(content)["files"]]
            modes = ["lfs" if path.endswith(LARGE) else "regular" for path in paths]
            told = [{"path": path, "uploadMode": mode} for path, mode in zip(paths, modes, strict=True)]
            self.reply({"files": [{**file, "shouldIgnore": False, "oid": None} for file in told]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = map(self.batch, json.loads(content)["objects"])
            self.reply({"transfer": "basic", "objects": [*objects]})
        elif match := re.match(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            self.commit(match[1], content)
        else:
            self.reply({"error": "no such page"}, 404)

    def create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        if self.hub.refuses:
            self.reply({"error": "You don't have the rights."}, self.hub.refuses)
            return
        is_new = repo not in self.hub.private
        self.hub.private.setdefault(repo, asked.get("visibility") == "private")
        self.reply({"url": f"{self.hub.url}/{repo}"}, 200 if is_new else 409)

    def batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.objects:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}}

    def commit(self, repo: str, content: bytes) -> None:
        lines = [json.loads(line) for line in content.splitlines()]
        held = self.hub.files.setdefault(repo, {})
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                held[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                held[value["path"]] = self.hub.objects[value["oid"]]
        self.hub.commits.append(lines[0]["value"]["summary"])
        oid = f"{len(self.hub.commits):040x}"
        self.reply({"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid})


@contextmanager
def serve(port: int = 0) -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
