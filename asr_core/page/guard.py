"""What strangers may ask of the server: which addresses, how much in one request, how much in ten minutes.

Gradio serves more than this page needs: proxies, stored runs, an editor. Whatever is not on the list below is not there.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from time import monotonic

import gradio as gr
from gradio import processing_utils
from gradio.route_utils import API_PREFIX
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_FILE = 100_000_000  # bytes
LARGEST_REQUEST = LARGEST_FILE + 1_000_000  # with the names and borders around its file
WINDOW_S = 600.0
MOST_BYTES = 500_000_000  # that one client may send in a window: an hour of live captions is 350 million
MOST_REQUESTS = 6_000  # that one client may send in a window: live captions take four a second
MOST_CLIENTS = 10_000  # remembered at once

GET = (
    "/config",
    "/assets/",
    "/static/",
    "/svelte/",
    "/theme.css",
    "/manifest.json",
    "/pwa_icon",
    "/favicon.ico",
    "/robots.txt",
)
GET_API = ("file=", "queue/data", "call/", "heartbeat/", "info", "openapi.json", "upload_progress", "startup-events", "mcp")
GET_API += ("theme.css", "app_id", "login_check")
POST_API = ("upload", "queue/join", "call/", "cancel", "reset", "component_server", "mcp")

# Scripts and styles come from here alone, and nothing is sent elsewhere, whatever might get into the page.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors "
)
ON_A_SPACE = "SPACE_ID" in os.environ  # huggingface.co and other sites show Spaces in frames
HEADERS = {
    "content-security-policy": POLICY + ("https:" if ON_A_SPACE else "'self'"),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


@dataclass
class Request:
    when_s: float
    bytes: int = 0  # that have arrived


class TooMuch(Exception):
    """A body that grew beyond what was left to its client."""


class Guard:
    """ASGI middleware. It counts what each client sends, and answers 404, 413 or 429 with a sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.lock = threading.Lock()
        self.clients: OrderedDict[str, deque[Request]] = OrderedDict()  # the one heard last at the end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":  # the server's own start and end
            await self.app(scope, receive, send)
            return
        refused = False

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        async def send_unless_refused(message: Message) -> None:
            if not refused:
                await send_guarded(message)

        if not is_served(scope["method"], scope["path"]):
            await PlainTextResponse("There is nothing here.", 404)(scope, receive, send_guarded)
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send_guarded)
            return

        client = address(scope)
        most = min(self.left(client), LARGEST_REQUEST)
        if most <= 0 or int(Headers(scope=scope).get("content-length", 0)) > most:
            await refusal(most)(scope, receive, send_guarded)
            return
        request = Request(monotonic())
        with self.lock:
            self.clients[client].append(request)

        async def receive_counted() -> Message:
            nonlocal refused
            message = await receive()
            request.bytes += len(message.get("body", b""))
            if request.bytes > most:  # whatever was announced; and whatever the page makes of it, the answer is ours
                refused = True
                await refusal(most)(scope, receive, send_guarded)
                raise TooMuch
            return message

        with contextlib.suppress(TooMuch):
            await self.app(scope, receive_counted, send_unless_refused)

    def left(self, client: str) -> int:
        """Bytes that it may still send now; 0 when it has sent too many or asked too often."""
        oldest = monotonic() - WINDOW_S
        with self.lock:
            sent = self.clients.setdefault(client, deque())
            self.clients.move_to_end(client)
            while sent and sent[0].when_s < oldest:
                sent.popleft()
            while len(self.clients) > MOST_CLIENTS:
                self.clients.popitem(last=False)
            return 0 if len(sent) >= MOST_REQUESTS else MOST_BYTES - sum(request.bytes for request in sent)


def is_served(method: str, path: str) -> bool:
    """Whether the page needs what lies there."""
    if method == "POST":
        return path.startswith(tuple(f"{API_PREFIX}/{name}" for name in POST_API))
    if method not in ("GET", "HEAD", "OPTIONS"):
        return path.startswith(f"{API_PREFIX}/mcp")
    if path.startswith(f"{API_PREFIX}/file=http"):  # Gradio would fetch it from elsewhere
        return False
    return path == "/" or path.startswith((*GET, *(f"{API_PREFIX}/{name}" for name in GET_API)))


def address(scope: Scope) -> str:
    """Of the client. To a Space all come through one proxy, which says for whom; elsewhere such words prove nothing."""
    forwarded = Headers(scope=scope).get("x-forwarded-for", "") if ON_A_SPACE else ""
    return forwarded.split(",")[0].strip()[:64] or (scope.get("client") or ("",))[0]


def refusal(most: int) -> PlainTextResponse:
    """most: the bytes that were left to the client."""
    if most == LARGEST_REQUEST:
        return PlainTextResponse(f"A request may hold at most {LARGEST_FILE / 1e6:.0f} MB. Send a shorter recording.", 413)
    minutes = WINDOW_S / 60
    return PlainTextResponse(f"You have sent very much in the last {minutes:.0f} minutes. Try again in {minutes:.0f}.", 429)


async def _refuse_address(url: str, *_: object) -> str:
    raise gr.Error("Addresses are not fetched here. Upload the file itself.", print_exception=False)


def middleware() -> list[Middleware]:
    """For launch(app_kwargs={"middleware": ...}). It also keeps Gradio from downloading what a request may name by an
    address in place of a file: it would take any size."""
    processing_utils.async_ssrf_protected_download = _refuse_address
    processing_utils.async_ssrf_protected_get = _refuse_address
    return [Middleware(Guard)]
