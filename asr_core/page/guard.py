"""What strangers may ask of the server: which addresses, how much in one request, how much in ten minutes.

Gradio serves more than this page needs: proxies, stored runs, an editor. Whatever is not on the list below is not there.
"""

from __future__ import annotations

import contextlib
import heapq
import ipaddress
import os
import threading
from array import array
from collections import OrderedDict
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
MINUTE_S, WINDOW_S = 60.0, 600.0  # what was sent is summed up by the minute, and forgotten when the window has passed
MINUTES = round(WINDOW_S / MINUTE_S)
MOST_BYTES = 500_000_000  # that one client may send in a window: an hour of live captions is 350 million
MOST_REQUESTS = 6_000  # that one client may send in a window: live captions take four a second
MOST_CLIENTS = 10_000  # remembered at once, of half a kilobyte each
FORGOTTEN_AT_ONCE = 0.1  # of them, where there is no room for another

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


class Sent:
    """What one client has sent: bytes and requests of each of the last MINUTES, this one included. It takes the same memory
    however much it was."""

    __slots__ = ("bytes", "minute", "requests")

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self.bytes, self.requests = array("Q", bytes(8 * MINUTES)), array("Q", bytes(8 * MINUTES))

    def at(self, minute: int) -> Sent:
        """Itself, without what is too old by then."""
        for passed in range(self.minute + 1, min(minute, self.minute + MINUTES) + 1):
            self.bytes[passed % MINUTES] = self.requests[passed % MINUTES] = 0
        self.minute = max(minute, self.minute)
        return self

    def add(self, size: int = 0, requests: int = 0) -> None:
        self.bytes[self.minute % MINUTES] += size
        self.requests[self.minute % MINUTES] += requests

    @property
    def share(self) -> float:
        """Of what it may send, how much it has sent."""
        return max(sum(self.bytes) / MOST_BYTES, sum(self.requests) / MOST_REQUESTS)

    def wait(self, size: int) -> int:
        """Minutes until it may send another request of that size; 0 for now."""
        held, asked = sum(self.bytes), sum(self.requests)
        for minutes in range(MINUTES):
            if held + max(size, 1) <= MOST_BYTES and asked < MOST_REQUESTS:
                return minutes
            oldest = (self.minute + 1 + minutes) % MINUTES
            held, asked = held - self.bytes[oldest], asked - self.requests[oldest]
        return MINUTES


class TooMuch(Exception):
    """A body that grew beyond what was left to its client."""


class Guard:
    """ASGI middleware. It counts what each client sends, and answers 404, 413 or 429 with a sentence.

    Bytes count as they arrive, so that requests side by side share what is left: together they exceed it by no more than
    the piece of each that was under way.

    Where there is no room for another client, those are forgotten who have sent the least. To be forgotten, a heavy sender
    would need thousands of addresses that have each sent more, and who has those needs not be forgotten.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.lock = threading.Lock()
        self.clients: OrderedDict[str, Sent] = OrderedDict()  # the one heard last at the end

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

        client, arrived = address(scope), 0
        if refusal := self.begin(client, int(Headers(scope=scope).get("content-length", 0))):
            await refusal(scope, receive, send_guarded)
            return

        async def receive_counted() -> Message:
            nonlocal arrived, refused
            message = await receive()
            size = len(message.get("body", b""))
            arrived += size
            if refusal := self.take(client, size, arrived):  # whatever was announced; whatever the page makes of it
                refused = True
                await refusal(scope, receive, send_guarded)
                raise TooMuch
            return message

        with contextlib.suppress(TooMuch):
            await self.app(scope, receive_counted, send_unless_refused)

    def begin(self, client: str, size: int) -> PlainTextResponse | None:
        """Counts a request, of which so many bytes are announced; or the answer to one that is not taken."""
        if size > LARGEST_REQUEST:
            return too_large()
        with self.lock:
            sent = self._sent(client)
            if sent.wait(size):
                return too_much(sent, size)
            sent.add(requests=1)
        return None

    def take(self, client: str, size: int, arrived: int) -> PlainTextResponse | None:
        """Counts so many bytes, which make the body `arrived` long; the answer when no more are taken."""
        with self.lock:
            sent = self._sent(client)
            sent.add(size)
            if arrived > LARGEST_REQUEST:
                return too_large()
            return too_much(sent, 0) if sum(sent.bytes) > MOST_BYTES else None

    def _sent(self, client: str) -> Sent:
        minute = int(monotonic() // MINUTE_S)
        if client not in self.clients:
            if len(self.clients) >= MOST_CLIENTS:
                shares = {other: sent.at(minute).share for other, sent in self.clients.items()}
                for other in heapq.nsmallest(max(1, int(FORGOTTEN_AT_ONCE * MOST_CLIENTS)), shares, shares.get):
                    del self.clients[other]
            self.clients[client] = Sent(minute)
        self.clients.move_to_end(client)
        return self.clients[client].at(minute)


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
    """Whom a request is counted for.

    To a Space all come through Hugging Face's proxies, so that the connection's own address is one of theirs
    (github.com/embeddings-benchmark/mteb/pull/4754 found 10.16.3.80). A proxy appends to X-Forwarded-For the address that it
    was called from (AWS load balancers, "append"), and leaves what stood there, which anybody may have written. So the last
    entry is the one to believe, and, where that is a proxy in a private network, the last one before those: the address from
    which somebody out there called the first proxy. Elsewhere the header proves nothing; uvicorn itself believes a proxy on
    this machine alone.
    """
    peer = (scope.get("client") or ("",))[0]
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")) if ON_A_SPACE else ""
    entries = [entry.strip() for entry in forwarded.split(",") if entry.strip()] or [peer]
    for entry in reversed(entries):
        name, is_private = _counted(entry)
        if not is_private:
            return name
    return _counted(entries[-1])[0]


def _counted(entry: str) -> tuple[str, bool]:
    """An address, perhaps with a port, as it is counted, and whether it is one of a private network. Of IPv6 it is the /64,
    the least that a network is given: whoever has one has all its addresses."""
    host = entry[1:].partition("]")[0] if entry.startswith("[") else entry
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return entry[:64], False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    network = ip if ip.version == 4 else f"{ipaddress.IPv6Address(int(ip) >> 64 << 64)}/64"
    return str(network), not ip.is_global


def too_large() -> PlainTextResponse:
    return PlainTextResponse(f"A request may hold at most {LARGEST_FILE / 1e6:.0f} MB. Send a shorter recording.", 413)


def too_much(sent: Sent, size: int) -> PlainTextResponse:
    """size: of the request that has to wait, as far as it is known."""
    minutes = max(1, sent.wait(size))
    sentence = (
        f"Upload limit reached: {sum(sent.bytes) / 1e6:.0f} MB in {sum(sent.requests):,} requests came from your address in "
        f"the last {MINUTES} minutes; {MOST_BYTES / 1e6:.0f} MB and {MOST_REQUESTS:,} requests are the most. "
        f"Try again in {minutes} minute{'s' * (minutes > 1)}."
    )
    return PlainTextResponse(sentence, 429, {"retry-after": f"{minutes * MINUTE_S:.0f}"})


async def _refuse_address(url: str, *_: object) -> str:
    raise gr.Error("Addresses are not fetched here. Upload the file itself.", print_exception=False)


def middleware() -> list[Middleware]:
    """For launch(app_kwargs={"middleware": ...}). It also keeps Gradio from downloading what a request may name by an
    address in place of a file: it would take any size."""
    processing_utils.async_ssrf_protected_download = _refuse_address
    processing_utils.async_ssrf_protected_get = _refuse_address
    return [Middleware(Guard)]
