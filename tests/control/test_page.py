"""What a person sees and does on the page, in a real browser."""

import time

import httpx
import pytest
from playwright.sync_api import expect

from schemas.records import Quality
from tests.kit.pages import branch, readings, worker

pytestmark = pytest.mark.xdist_group("page")

ADAPTER = worker(
    "data_path/adapters/presses",
    counters={"readings_total": 100, 'rejects_total{rule="json"}': 3},
    facts={"protocol": "modbus_tcp"},
)
FAILED = worker(
    "data_path/sinks/cloud",
    "FAILED",
    reason="password refused at db:5432",
    restarts=5,
    last_exit="crashed: NeedsPerson",
)


@pytest.fixture
def page(browser, page_server):
    page_server.tree(branch("data_path", branch("data_path/adapters", ADAPTER), branch("data_path/sinks", FAILED)))
    page_server.note(readings("press_1", "pressure", [181.5]))
    page_server.note(readings("press_4", "pressure", [9999.0], Quality.SUSPECT))
    opened = browser.new_context(viewport={"width": 1024, "height": 768}).new_page()
    complaints = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda e: complaints.append(str(e)))
    opened.goto(page_server.url)
    opened.locator("#values tbody tr").first.wait_for()
    yield opened
    opened.close()
    assert complaints == []


def test_the_first_look_says_what_is_wrong_and_what_to_do(page):
    expect(page.locator("header")).to_contain_text("DEGRADED")
    problem = page.get_by_label("Problems")
    expect(problem).to_contain_text("password refused at db:5432")
    assert "streamforge restart cloud" in problem.inner_text()


def test_values_show_quality_in_words_and_can_be_searched_by_keyboard(page):
    expect(page.locator("#values tbody tr")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("press_4")
    expect(page.locator("#values tbody tr")).to_have_count(1)
    assert "SUSPECT" in page.locator("#values tbody tr").inner_text()


def test_the_tree_is_walked_by_keyboard_and_the_selection_stands_in_the_address(page):
    rows = page.locator("#components tbody tr")
    rows.first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("aside")).to_contain_text("crashed: NeedsPerson")
    assert "component=data_path" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("aside")).to_have_count(0)
    page.locator("#components tbody tr").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(2)


def test_the_details_of_a_component_say_where_its_rejects_stand(page):
    page.get_by_text("3 rejected").click()
    expect(page.locator("aside")).to_contain_text("tail dlq.telemetry")
    page.keyboard.press("Escape")
    page.locator("#components tbody tr", has_text="cloud").last.click()
    expect(page.locator("aside")).to_contain_text("restart cloud")
    expect(page.locator("aside")).not_to_contain_text("tail dlq.telemetry")


def test_a_gateway_that_falls_silent_is_said_to_be_stale(page, page_server):
    assert page.get_by_role("alert").count() == 0
    page_server.context.stopping.set()
    expect(page.get_by_role("alert")).to_contain_text("has not answered")
    assert page.locator("#values tbody tr").count() > 0, "the last values stay, said to be old"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1024, 1920])
def test_nothing_overflows_and_text_keeps_its_contrast(browser, page_server, width, scheme):
    page_server.tree(branch("data_path", ADAPTER, FAILED))
    page_server.note(readings("press_1", "pressure", [1.0]))
    opened = browser.new_context(viewport={"width": width, "height": 768}, color_scheme=scheme).new_page()
    opened.goto(page_server.url)
    opened.locator("#values tbody tr").first.wait_for()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ratio = opened.evaluate(CONTRAST)
    assert min(ratio.values()) >= 4.5, ratio
    opened.close()


CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const found = {};
  for (const e of document.querySelectorAll('h1, h2, .quiet, td, th, .status, .card span, .problems li, .wire, nav a, button')) {
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    found[e.className + ' ' + e.tagName] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""


def test_the_loopback_port_reads_but_never_acts(page_server):
    page_server.tree(ADAPTER)
    answer = httpx.post(f"{page_server.url}api/v1/components/presses/restart")
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "streamforge restart presses" in answer.json()["detail"]


def test_a_foreign_host_name_gets_nothing(page_server):
    assert httpx.get(page_server.url, headers={"host": "evil.example"}).status_code == 400


def test_health_is_told_apart_for_life_readiness_and_people(page_server):
    assert httpx.get(f"{page_server.url}health/live").status_code == 503
    page_server.tree(ADAPTER)
    assert httpx.get(f"{page_server.url}health/live").status_code == 200
    assert httpx.get(f"{page_server.url}health/ready").json()["ready"] is True
    page_server.tree(worker("stream/broker", "UNHEALTHY", reason="disk full"))
    assert httpx.get(f"{page_server.url}health/ready").status_code == 503
    assert httpx.get(f"{page_server.url}health").json()["problems"][0]["reason"] == "disk full"
    page_server.state.reported = time.monotonic() - 60
    assert httpx.get(f"{page_server.url}health/live").status_code == 503


def test_an_unknown_topic_is_named_with_those_there_are(page_server):
    answer = httpx.get(f"{page_server.url}api/v1/topics/telemetry.cleen/tail")
    assert answer.status_code == 404
    assert "telemetry.clean" in answer.json()["detail"]


def test_what_is_vendored_is_what_was_vendored():
    import hashlib
    from pathlib import Path

    vendor = Path(__file__).parents[2] / "ui_static" / "vendor"
    for line in (vendor / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
