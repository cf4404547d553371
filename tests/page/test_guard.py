"""What strangers may ask of the server: over HTTP against the launched page, and of the guard alone."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from actions import EXAMPLES, type_reference, visitor, wait_for_words, wait_to_hear
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from asr_core.page import guard
from asr_core.page.guard import Guard

UPLOAD = "/gradio_api/upload"


async def count(request):
    return PlainTextResponse(str(len(await request.body())))


def guarded(host: str = "10.0.0.1", guard_of: Guard | None = None) -> TestClient:
    """A client at this address of a guarded server that counts what it is sent."""
    app = guard_of or Guard(Starlette(routes=[Route(UPLOAD, count, methods=["GET", "POST"])]))
    return TestClient(app, client=(host, 1))


def unannounced(size: int) -> Iterator[bytes]:
    """In pieces, without a Content-Length."""
    for _ in range(size // 1000):
        yield bytes(1000)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(guard, "LARGEST_REQUEST", 10_000)
    monkeypatch.setattr(guard, "MOST_BYTES", 25_000)
    monkeypatch.setattr(guard, "MOST_REQUESTS", 6)


@pytest.mark.parametrize("body", [bytes, unannounced], ids=["announced", "unannounced"])
def test_a_request_that_is_too_large_gets_a_sentence(small, body):
    client = guarded()
    assert client.post(UPLOAD, content=body(10_000)).text == "10000"
    answer = client.post(UPLOAD, content=body(11_000))
    assert answer.status_code == 413 and answer.text.endswith("Send a shorter recording.")


def test_one_client_may_send_so_much_in_a_while_and_another_is_not_affected(small, monkeypatch):
    app = Guard(Starlette(routes=[Route(UPLOAD, count, methods=["POST"])]))
    client, another = guarded(guard_of=app), guarded("10.0.0.2", app)
    for _ in range(2):
        assert client.post(UPLOAD, content=bytes(10_000)).status_code == 200
    assert client.post(UPLOAD, content=bytes(9_000)).status_code == 429
    assert client.post(UPLOAD, content=unannounced(9_000)).status_code == 429
    assert another.post(UPLOAD, content=bytes(9_000)).status_code == 200
    now = guard.monotonic()
    monkeypatch.setattr(guard, "monotonic", lambda: now + guard.WINDOW_S + 1)
    assert client.post(UPLOAD, content=bytes(9_000)).status_code == 200


def test_one_client_may_ask_so_often(small):
    client = guarded()
    assert [client.post(UPLOAD, content=b"x").status_code for _ in range(7)] == [200] * 6 + [429]


def test_whom_a_proxy_speaks_for_counts_on_a_space_alone(small, monkeypatch):
    for on_a_space, codes in ((False, [200, 200, 429]), (True, [200, 200, 200])):
        monkeypatch.setattr(guard, "ON_A_SPACE", on_a_space)
        client = guarded()
        spoken_for = [{"X-Forwarded-For": f"1.1.1.{number}, 10.0.0.1"} for number in range(3)]
        assert [client.post(UPLOAD, content=bytes(9_000), headers=each).status_code for each in spoken_for] == codes


def test_clients_are_forgotten(monkeypatch):
    monkeypatch.setattr(guard, "MOST_CLIENTS", 3)
    app = Guard(Starlette(routes=[Route(UPLOAD, count, methods=["POST"])]))
    for number in range(5):
        guarded(f"10.0.0.{number}", app).post(UPLOAD, content=b"x")
    assert list(app.clients) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/config", "/gradio_api/file=/etc/passwd"])
def test_every_answer_says_what_a_browser_may_do_with_it(url, path):
    answer = httpx.get(url.rstrip("/") + path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=http://127.0.0.1/"),
        ("GET", "/gradio_api/file=http://127.0.0.1/"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=app.py"),
        ("GET", "/gradio_api/file=asr_core/page/guard.py"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api/runs"),
        ("POST", "/gradio_api/run/transcribe"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/login"),
        ("PUT", "/gradio_api/upload"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(url, method, path):
    assert httpx.request(method, url.rstrip("/") + path).status_code in (403, 404)


def test_an_address_in_place_of_a_file_is_never_asked_for(url):
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/a.wav"
    recording = {"path": address, "meta": {"_type": "gradio.FileData"}}
    with httpx.Client(base_url=url) as client:
        event = client.post("gradio_api/call/transcribe", json={"data": [recording, "greedy"]}).json()["event_id"]
        told = client.get(f"gradio_api/call/transcribe/{event}").text
    server.shutdown()
    assert asked == [] and "event: error" in told


def test_two_visitors_at_once_never_see_each_others_recordings(browser, url, transcriber):
    with visitor(browser, url) as first, visitor(browser, url) as second, visitor(browser, url) as third:
        for tab, example in ((first, EXAMPLES[0]), (second, EXAMPLES[1])):  # the second comes while the first is waiting
            tab.get_by_role("button", name=" ".join(example.text.split()[:4])).click()
        for tab, example in ((first, EXAMPLES[0]), (second, EXAMPLES[1])):
            wait_for_words(tab, transcriber.transcribe(example.path, "greedy").text.split())
            wait_to_hear(tab, transcriber.transcribe(example.path).text)
        type_reference(third, "nobody's recording is a third one's")
        third.get_by_text("There is no recording yet").wait_for()
        assert third.locator(".ctc-lens .word").count() == 0
