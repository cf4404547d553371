"""A Hugging Face Hub on this machine: as much of it as an upload in one commit and a download need."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from contextlib import contextmanager


class Hub(http.server.BaseHTTPRequestHandler):
    """models: Hub id -> its files. Those who write have to send the token "secret"."""

    models: dict[str, dict[str, bytes]] = {}
    protocol_version = "HTTP/1.1"

    def answer(self, content: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def say(self, status: int = 200, **content: object) -> None:
        self.answer(json.dumps(content).encode(), status, Content_Type="application/json")

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer secret":
            return self.say(401, error="Invalid credentials")
        if self.path == "/api/repos/create":
            asked = json.loads(sent)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.models.setdefault(name, {})
            return self.say(url=f"http://{self.headers['Host']}/{name}", name=name)
        if self.path == "/api/validate-yaml":
            return self.say(errors=[], warnings=[])
        name, _, rest = self.path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")
        if rest == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(sent)["files"]
            ]
            return self.say(files=files)
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                self.models[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self.say(
            success=True, commitOid="0" * 40, commitUrl=f"http://{self.headers['Host']}/{name}/commit/{'0' * 40}"
        )

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/"):
            name = "/".join(path.split("/")[3:5])
            if name not in self.models:
                return self.answer(b"", 404, X_Error_Code="RepoNotFound")
            if "/tree/" in path:
                files = [
                    {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for file, content in self.models[name].items()
                ]
                return self.answer(json.dumps(files).encode(), Content_Type="application/json")
            siblings = [{"rfilename": file} for file in self.models[name]]
            return self.say(id=name, modelId=name, sha="0" * 40, siblings=siblings, private=False, tags=[])
        name, _, file = path.strip("/").partition("/resolve/")
        content = self.models.get(name, {}).get(file.partition("/")[2])
        if content is None:
            return self.answer(b"", 404, X_Error_Code="EntryNotFound")
        return self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit="0" * 40)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub():
    """-> (address, models)."""
    ours = type("OurHub", (Hub,), {"models": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ours)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", ours.models
    finally:
        server.shutdown()
        server.server_close()
