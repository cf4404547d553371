"""What strangers may ask of the server: over HTTP against the launched page, and of the guard alone."""

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from actions import EXAMPLES, type_reference, visitor, wait_for_words, wait_to_hear
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from asr_core.page import guard
from asr_core.page.guard import Guard, address

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


def test_a_heavy_sender_is_not_forgotten_for_many_light_ones(small, monkeypatch):
    monkeypatch.setattr(guard, "MOST_CLIENTS", 20)
    app = Guard(Starlette(routes=[Route(UPLOAD, count, methods=["POST"])]))
    for name, size in (("10.0.1.1", 10_000), ("10.0.1.1", 9_000), ("10.0.1.2", 8_000)):
        assert guarded(name, app).post(UPLOAD, content=bytes(size)).status_code == 200
    for number in range(100):
        assert guarded(f"10.0.2.{number}", app).post(UPLOAD, content=bytes(1_000)).status_code == 200
    assert len(app.clients) <= 20
    assert guarded("10.0.1.1", app).post(UPLOAD, content=bytes(7_000)).status_code == 429
    assert {"10.0.1.1", "10.0.1.2", "10.0.2.99"} <= app.clients.keys()


def test_what_is_remembered_does_not_grow_with_what_was_sent_and_is_bounded(monkeypatch):
    app = Guard(None)

    def remembered(clients: range, requests: int) -> int:
        tracemalloc.start()
        for client in clients:
            for _ in range(requests):
                assert app.begin(f"2a00:1450:{client:x}::/64", 500) is None
                assert app.take(f"2a00:1450:{client:x}::/64", 500, 500) is None
        here = [
            tracemalloc.Filter(True, file) for file in (guard.__file__, __file__)
        ]  # a page's threads may be at work, too
        held = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(here).traces)
        tracemalloc.stop()
        return held

    assert remembered(range(1_000), 5) < 1_000 * 1_000  # bytes of so many clients
    assert remembered(range(1), guard.MOST_REQUESTS - 5) < 1_000
    monkeypatch.setattr(guard, "MOST_CLIENTS", 1_500)
    assert remembered(range(1_000, 4_000), 1) < 1_000 * 1_000
    assert 0.8 * 1_500 < len(app.clients) <= 1_500


@pytest.mark.parametrize("second", [0, 1, 30, 59])
def test_what_was_sent_counts_for_nine_minutes_and_for_no_more_than_ten(small, monkeypatch, second):
    now = 6_000.0 + second
    monkeypatch.setattr(guard, "monotonic", lambda: now)
    client = guarded()
    for _ in range(2):
        assert client.post(UPLOAD, content=bytes(10_000)).status_code == 200
    start = now
    for passed_s, code in ((1, 429), (60, 429), (539, 429), (600, 200)):
        now = start + passed_s
        assert client.post(UPLOAD, content=bytes(9_000)).status_code == code, passed_s


def test_the_sentence_says_how_much_came_how_much_may_and_when_to_come_again(monkeypatch):
    now = 6_000.0
    monkeypatch.setattr(guard, "monotonic", lambda: now)
    app = Guard(None)
    for _ in range(4):  # 100 MB a minute
        assert app.begin("1.1.1.1", 100_000_000) is app.take("1.1.1.1", 100_000_000, 100_000_000) is None
        now += 60
    assert app.begin("1.1.1.1", 100_000_000) is None
    assert app.take("1.1.1.1", 90_000_000, 90_000_000) is None
    refusal = app.begin("1.1.1.1", 100_000_000)
    assert (refusal.status_code, refusal.headers["retry-after"]) == (429, "360")
    assert refusal.body.decode() == (
        "Upload limit reached: 490 MB in 5 requests came from your address in the last 10 minutes; 500 MB and 6,000 "
        "requests are the most. Try again in 6 minutes."
    )
    now += 5 * 60
    assert app.begin("1.1.1.1", 100_000_000).status_code == 429
    now += 60
    assert app.begin("1.1.1.1", 100_000_000) is None


def test_so_many_requests_get_the_sentence_too(small, monkeypatch):
    client = guarded()
    assert [client.post(UPLOAD, content=b"x").status_code for _ in range(6)] == [200] * 6
    assert "0 MB in 6 requests came from your address" in client.post(UPLOAD, content=b"x").text


def test_requests_side_by_side_share_what_is_left(small, monkeypatch):
    """Forty that all begin before any has sent a byte, and then send a piece each in turn."""
    monkeypatch.setattr(guard, "MOST_REQUESTS", 1_000)
    pieces, read, answers = 8, 0, []

    async def app(scope, receive, send):
        nonlocal read
        for _ in range(pieces):
            read += len((await receive())["body"])
        await PlainTextResponse("all of it")(scope, receive, send)

    async def request(server: Guard, begin: asyncio.Event) -> None:
        async def receive():
            await begin.wait()
            await asyncio.sleep(0)  # the next one's turn
            return {"type": "http.request", "body": bytes(1_000), "more_body": True}

        async def send(message):
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": UPLOAD, "headers": [], "client": ("10.0.0.1", 1)}
        await server(scope, receive, send)

    async def all_of_them() -> None:
        server, begin = Guard(app), asyncio.Event()
        asked = [asyncio.create_task(request(server, begin)) for _ in range(40)]
        await asyncio.sleep(0)
        begin.set()
        await asyncio.gather(*asked)
        assert sum(server.clients["10.0.0.1"].bytes) <= 25_000 + 40 * 1_000, "but for the pieces that were under way"

    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop may be running
        thread.submit(asyncio.run, all_of_them()).result()
    assert read <= 25_000
    assert len(answers) == 40 and answers.count(429) >= 40 - 25_000 // (pieces * 1_000)


def asked_by(host: str, *forwarded: str) -> dict:
    return {"type": "http", "client": (host, 1), "headers": [(b"x-forwarded-for", each.encode()) for each in forwarded]}


@pytest.mark.parametrize(
    ("forwarded", "counted"),
    [
        (["8.8.8.8"], "8.8.8.8"),
        (["1.1.1.1, 8.8.8.8"], "8.8.8.8"),  # the client wrote the first, the proxy the last
        (["1.1.1.1", "8.8.8.8"], "8.8.8.8"),
        (["1.1.1.1, 8.8.8.8, 10.16.3.80, 100.64.0.7, fd00::1"], "8.8.8.8"),  # behind it, proxies in private networks
        (["10.1.2.3, 8.8.8.8"], "8.8.8.8"),
        (["10.1.2.3, 10.16.3.80"], "10.16.3.80"),
        (["8.8.8.8:51234"], "8.8.8.8"),
        (["2a00:1450:4001:81b::200e"], "2a00:1450:4001:81b::/64"),
        (["[2a00:1450:4001:81b::200e]:443"], "2a00:1450:4001:81b::/64"),
        (["::ffff:8.8.8.8"], "8.8.8.8"),
        (["8.8.8.8, unknown"], "unknown"),  # what a proxy says, whatever it is; not what stands before it
        (["8.8.8.8, " + "x" * 10_000], "x" * 64),
        ([" , "], "10.0.0.9"),
        ([], "10.0.0.9"),
    ],
)
def test_on_a_space_the_address_that_the_proxy_saw_counts_and_nothing_before_it(monkeypatch, forwarded, counted):
    monkeypatch.setattr(guard, "ON_A_SPACE", True)
    assert address(asked_by("10.0.0.9", *forwarded)) == counted
    monkeypatch.setattr(guard, "ON_A_SPACE", False)
    assert address(asked_by("10.0.0.9", *forwarded)) == "10.0.0.9"


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_of_ipv6_is_one_client_and_so_is_an_address_of_ipv4(host, counted):
    assert address(asked_by(host)) == counted


def test_another_address_of_the_same_network_does_not_help(small):
    app = Guard(Starlette(routes=[Route(UPLOAD, count, methods=["POST"])]))
    hosts = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:3::", "2001:db8:0:1::1"]
    assert [guarded(host, app).post(UPLOAD, content=bytes(9_000)).status_code for host in hosts] == [200, 200, 429, 200]


def test_a_client_without_an_address_is_counted():
    assert address({"type": "http", "client": None, "headers": []}) == ""


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
