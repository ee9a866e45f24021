"""The local API under people's and programs' mistakes, and under abuse: every refusal is a problem in words, nothing grows, nothing hangs."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control import http_protocol
from control.gate import known_host
from control.http_protocol import BoundedProtocol
from control.state import PAGES_MAX, TAILS_MAX
from tests.kit.pages import PageServer, branch, readings, worker
from tests.kit.waiting import wait_until

ADAPTER = worker("data_path/adapters/press_4", counters={"readings_total": 1}, facts={"protocol": "modbus_tcp"})


@pytest.fixture
def api(page_server):
    page_server.tree(branch("data_path", branch("data_path/adapters", ADAPTER)))
    with httpx.Client(base_url=page_server.url, timeout=30) as client:
        client.server = page_server
        yield client


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    told = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, f"urn:streamforge:problem:{code}")
    assert told["retryable"] == (status in (503, 504)) == ("retry-after" in answer.headers)
    return told["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "words"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found", "docs/api.md"),
        ("GET", "/api/v1/tree/", 404, "not-found", "/api/v1/tree/"),
        ("GET", "/..%2f..%2fetc/passwd", 404, "not-found", "nothing at"),
        ("GET", "/%00", 404, "not-found", "nothing at"),
        ("GET", "/" + "a" * 5000, 404, "not-found", "nothing at"),
        ("GET", "/%ff%fe", 404, "not-found", "nothing at"),
        ("POST", "/health", 405, "method-not-allowed", "right would be GET"),
        ("DELETE", "/api/v1/tree", 405, "method-not-allowed", "right would be"),
        ("PUT", "/", 405, "method-not-allowed", "right would be"),
        ("GET", "/api/v1/components/press_4/restart", 405, "method-not-allowed", "right would be POST"),
        ("POST", "/api/v1/components/press_4/restart", 403, "forbidden", "streamforge restart press_4"),
        ("GET", "/api/v1/components/pres_4", 404, "not-found", "did you mean press_4"),
        ("GET", "/api/v1/topics/telemetry.raw/tail?last=-1", 400, "usage", "right would be a number"),
        ("GET", "/api/v1/topics/telemetry.raw/tail?last=%D9%A3", 400, "usage", "right would be a number"),
        ("GET", "/api/v1/topics/telemetry.raw/tail?follow=maybe", 400, "usage", "true or false"),
        ("GET", "/api/v1/topics/state.validator/tail", 404, "not-found", "telemetry.clean"),
    ],
)
def test_what_cannot_be_done_is_a_problem_in_words(api, method, path, status, code, words):
    assert words in problem(api.request(method, path), status, code)


def test_an_error_of_ours_is_a_problem_too_and_tells_nothing_of_the_inside(api, monkeypatch):
    monkeypatch.setattr(api.server.state, "health", lambda: {}["secret"])
    assert re.search(r"its log \(.+\) has the reason", problem(api.get("/health"), 500, "internal"))
    assert "secret" not in api.get("/health").text


def test_a_body_that_nobody_asked_for_is_refused_by_its_length(api):
    assert "65536 bytes" in problem(
        api.post("/api/v1/components/press_4/restart", content=b"x" * 70_000), 413, "too-large"
    )


def test_what_is_no_http_gets_a_problem(page_server):
    with socket.create_connection(("127.0.0.1", page_server.port), 30) as odd:
        odd.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n")
        answer = odd.makefile("rb").read()
    assert b"400 Bad Request" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "usage"


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\nx: " + b"b" * 100_000])
def test_a_head_without_end_is_cut_off(page_server, head):
    with socket.create_connection(("127.0.0.1", page_server.port), 30) as endless:
        with suppress(ConnectionError):  # it is cut off while it still talks
            endless.sendall(head)
        assert b"400" in endless.recv(100)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost:x", "", "[::1"]
)
def test_a_name_that_is_not_ours_gets_nothing(api, host):
    assert "api.names" in problem(api.get("/health", headers={"host": host}), 400, "usage")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9", "LOCALHOST", "localhost.:80", "[::1]:8080", "192.0.2.7", "[2001:db8::1]"]
)
def test_our_name_and_any_address_are_answered(host):
    assert known_host(host, {"localhost"})


@pytest.mark.parametrize(("site", "mode", "status"), [("cross-site", "cors", 403), ("same-site", "no-cors", 403), ("same-origin", "cors", 200),
                                                      ("cross-site", "navigate", 200), ("none", "navigate", 200)])  # fmt: skip
def test_a_page_of_another_site_may_link_here_but_not_ask(api, site, mode, status):
    assert api.get("/health", headers={"sec-fetch-site": site, "sec-fetch-mode": mode}).status_code == status


def test_any_accept_header_gets_the_one_form_there_is(api):
    answer = api.get("/health", headers={"accept": "application/xml;q=0.9, */broken"})
    assert answer.headers["content-type"] == "application/json"


def test_the_head_of_a_stream_ends(api):
    assert api.head("/api/v1/live").headers["content-type"].startswith("text/event-stream")
    assert api.server.state.pages.taken == 0


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB"]),
    path=st.one_of(
        st.sampled_from(["/health", "/metrics", "/api/v1/tree", "/api/v1/flow", "/api/v1/components/"]),
        st.builds("/api/v1/topics/{}/tail".format, TEXT),
        st.builds("/api/v1/components/{}".format, TEXT),
        st.builds("/api/v1/components/{}/restart".format, TEXT),
        st.builds("/{}".format, TEXT),
    ),
    query=st.dictionaries(st.one_of(st.sampled_from(["last", "follow"]), TEXT), TEXT, max_size=3),
)
def test_whatever_is_asked_the_answer_is_good_or_a_problem(api, method, path, query):
    with api.stream(method, f"{quote(path)}?{urlencode(query)}", follow_redirects=False) as answer:
        if answer.status_code >= 400 and method != "HEAD":
            answer.read()
            problem(answer, answer.status_code, answer.json()["code"])
        assert answer.status_code < 500


def test_a_hundred_pages_at_once_are_served_as_far_as_there_are_places(page_server):
    def ask(_):
        stack = ExitStack()
        client = stack.enter_context(httpx.Client(timeout=30))
        answer = stack.enter_context(client.stream("GET", f"{page_server.url}api/v1/live"))
        if answer.status_code != 200:
            answer.read()
        return stack, answer

    with ThreadPoolExecutor(20) as pool:
        asked = list(pool.map(ask, range(100)))
    served = [stack for stack, answer in asked if answer.status_code == 200]
    refused = [answer for _, answer in asked if answer.status_code != 200]
    assert len(served) == PAGES_MAX
    for answer in refused:
        assert "close a page" in problem(answer, 503, "busy")
    assert httpx.get(f"{page_server.url}health").status_code == 200
    for stack, _ in asked:
        stack.close()
    wait_until(lambda: page_server.state.pages.taken == 0 and page_server.values.watchers == 0)
    assert page_server.context.counters['api_refused_total{kind="live"}'] == 100 - PAGES_MAX
    assert page_server.context.gauges['api_readers{kind="live"}'] == 0


def test_tails_have_places_of_their_own(page_server, monkeypatch):
    async def silence(*_):
        await page_server.context.stopping.wait()
        yield {}

    monkeypatch.setattr("control.routes.read_topic", silence)
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=30))
        with ThreadPoolExecutor(TAILS_MAX) as pool:
            list(pool.map(lambda _: _begin(stack, page_server), range(TAILS_MAX)))
        wait_until(lambda: page_server.state.tails.taken == TAILS_MAX)
        answer = client.get(f"{page_server.url}api/v1/topics/telemetry.raw/tail")
        assert "end a `tail`" in problem(answer, 503, "busy")
    wait_until(lambda: page_server.state.tails.taken == 0)


def _begin(stack, server):
    asking = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
    asking.sendall(b"GET /api/v1/topics/telemetry.raw/tail HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert asking.recv(20).startswith(b"HTTP/1.1 200")


class Hasty(BoundedProtocol):
    unread_within_s = 1.0


def test_a_page_that_does_not_read_is_let_go_and_costs_one_frame(monkeypatch):
    monkeypatch.setattr("control.routes.FRAME_EVERY_S", 0.02)
    with PageServer(protocol=Hasty) as server:
        for n in range(300):
            server.note(readings("press_1", f"pressure_{n}", [1.0]))
        server.tree(branch("data_path", *(worker(f"data_path/a{n}", reason="x" * 500) for n in range(200))))
        with socket.create_connection(("127.0.0.1", server.port), 30) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /api/v1/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            wait_until(lambda: server.state.pages.taken == 1)
            wait_until(lambda: server.state.pages.taken == 0)
        assert httpx.get(f"{server.url}health").status_code == 200


def test_frames_that_a_slow_reader_misses_are_counted(page_server, monkeypatch):
    monkeypatch.setattr("control.routes.FRAME_EVERY_S", 0.01)
    page_server.tree(branch("data_path", *(worker(f"data_path/a{n}", reason="x" * 500) for n in range(200))))
    counters = page_server.context.counters
    with socket.create_connection(("127.0.0.1", page_server.port), 30) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /api/v1/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert wait_until(lambda: takes_a_bite(slow) and counters.get("api_frames_skipped_total")) > 0


def takes_a_bite(slow):
    """A small part of a frame; the next one no sooner than a frame later."""
    return slow.recv(4096)


def test_a_client_that_never_finishes_its_request_is_let_go(monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_WITHIN_S", 0.3)
    with PageServer() as server, socket.create_connection(("127.0.0.1", server.port), 30) as dawdler:
        dawdler.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionResetError):
            assert dawdler.recv(1) == b""
            dawdler.sendall(b"x")
            raise ConnectionResetError
