"""A web server on this machine that gives out files, whole or from the byte that is asked for (RFC 9110, section 14)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from contextlib import contextmanager


class Shelf(http.server.BaseHTTPRequestHandler):
    """files: by their names. tags: the ETags of those that have one. most: bytes after which an answer breaks off.

    asked: every request, with its Range. heeds: whether it looks at If-Range. before_rest: called when half of an answer is
    sent. chunked: whether answers do not say how long they are.
    """

    files: dict[str, bytes] = {}
    tags: dict[str, str] = {}
    most = 2**40
    asked: list[str] = []
    heeds, chunked = True, False
    before_rest: Callable[[], None] | None = None
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        name = self.path.rpartition("/")[2]
        self.asked.append(f"{name} {self.headers.get('Range', '')}".strip())
        if name not in self.files:
            self.send_error(404)
            return
        content, tag = self.files[name], self.tags.get(name)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if self.heeds and self.headers.get("If-Range", tag) != tag:
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            self.send_header("ETag", tag)
        self.send_header(
            *("Transfer-Encoding", "chunked") if self.chunked else ("Content-Length", str(len(content) - start))
        )
        self.end_headers()
        sent = content[start : start + self.most]
        for part in (sent[: len(sent) // 2], sent[len(sent) // 2 :]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if self.chunked else part)
            if self.before_rest:
                type(self).before_rest()
        if self.chunked and len(sent) == len(content) - start:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def shelf():
    """-> (address, the class, whose fields may be set)."""
    ours = type("OurShelf", (Shelf,), {"files": {}, "tags": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ours)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", ours
    finally:
        server.shutdown()
        server.server_close()
