"""The page of a large plant, and of a gateway that goes away and comes back, in a real browser."""

import socket

import httpx
import pytest
from playwright.sync_api import expect

from control.state import PAGES_MAX
from schemas.records import Quality
from tests.kit.pages import PageServer, branch, readings, worker

pytestmark = pytest.mark.xdist_group("page")


def plant(adapters):
    """So many adapters, of which two are parked with their reason."""
    workers = [
        worker(f"data_path/adapters/line_{n:02d}", facts={"protocol": "modbus_tcp", "unit": n}) for n in range(adapters)
    ]
    for at in (7, 33):
        workers[at] |= {
            "status": "FAILED",
            "state": "failed",
            "reason": "protocols.contract.NotConnected: 192.0.2.14:502 refuses",
        }
    return branch("data_path", branch("data_path/adapters", *workers) | {"status": "DEGRADED"}) | {"status": "DEGRADED"}


@pytest.fixture
def large(page_server):
    page_server.tree(plant(50))
    for n in range(3000):
        quality = Quality.SUSPECT if n % 1000 == 999 else Quality.GOOD
        page_server.note(readings(f"press_{n // 60:02d}", f"zone_{n % 60:02d}", [float(n)], quality, "line_00"))
    return page_server


@pytest.fixture
def opened(browser, large):
    context = browser.new_context(viewport={"width": 1024, "height": 768})
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(large.url)
    page.locator("#values tbody tr").first.wait_for()
    yield page
    context.close()
    assert [url for url in asked if not url.startswith(large.url)] == []


def test_fifty_adapters_show_those_in_trouble_and_the_others_on_demand(opened):
    cards = opened.locator(".lane").first.locator(".card")
    expect(cards).to_have_count(3)
    expect(opened.locator(".lane").first).to_contain_text("50, 2 in trouble")
    expect(opened.get_by_label("Problems")).to_contain_text("192.0.2.14:502 refuses")
    expect(opened.get_by_label("Problems")).not_to_contain_text("NotConnected")
    opened.get_by_role("button", name="48 more").click()
    expect(cards).to_have_count(51)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_three_thousand_points_are_searched_and_sifted(opened):
    rows = opened.locator("#values tbody tr")
    expect(rows).to_have_count(200)
    expect(opened.locator("#values")).to_contain_text("first 200 of 3 000 points")
    opened.get_by_label("only not GOOD").check()
    expect(rows).to_have_count(3)
    opened.get_by_label("Search values").fill("press_33")
    expect(rows).to_have_count(1)
    assert "press_33" in rows.first.inner_text()


def test_components_are_sifted_with_their_branches(opened):
    opened.get_by_label("only those in trouble").check()
    rows = opened.locator("#components tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.nth(2)).to_contain_text("2 of 50 children parked: line_07, line_33")
    rows.nth(4).click()
    expect(opened.locator("aside")).to_contain_text("modbus_tcp")
    assert "streamforge restart line_33" in opened.locator("aside").inner_text()


def test_tab_passes_the_tree_in_one_step_and_focus_is_always_seen(opened):
    seen = []
    for _ in range(40):
        opened.keyboard.press("Tab")
        at = opened.evaluate("""() => { const e = document.activeElement, s = getComputedStyle(e);
            return [e.closest('section')?.id || e.closest('nav')?.tagName || e.tagName, e.tagName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1]; }""")
        if at[0] == "BODY":
            break
        seen.append(at)
    assert all(visible for _, _, visible in seen), seen
    assert sum(1 for _, tag, _ in seen if tag == "TR") == 1
    order = list(dict.fromkeys(where for where, _, _ in seen))
    assert [each for each in order if each in ("NAV", "flow", "values", "components")] == [
        "NAV",
        "flow",
        "values",
        "components",
    ]


def test_a_gateway_that_goes_away_is_said_and_found_again(browser):
    first = PageServer()
    with first:
        first.tree(plant(50))
        page = browser.new_context().new_page()
        page.goto(first.url)
        page.locator("#components tbody tr").first.wait_for()
    expect(page.get_by_role("alert")).to_contain_text("connection to the gateway is lost")
    assert "streamforge status" in page.get_by_role("alert").inner_text()
    with PageServer(listener=socket.create_server(("127.0.0.1", first.port))) as second:
        second.tree(worker("control_path/again"))
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("#components")).to_contain_text("again")
        page.context.close()


def test_a_page_without_a_place_says_so_and_gets_one_when_it_is_free(browser, page_server):
    page_server.tree(plant(50))
    page_server.state.pages.taken = PAGES_MAX
    page = browser.new_context().new_page()
    page.goto(page_server.url)
    expect(page.locator(".loading")).to_contain_text("close a page of this gateway")
    page_server.state.pages.taken = 0
    page.locator("#components tbody tr").first.wait_for()
    assert page.locator(".loading").count() == 0
    assert page_server.state.pages.taken == 1
    page.context.close()


def test_the_page_may_load_and_ask_only_its_own_origin(page_server):
    policy = httpx.get(page_server.url).headers["content-security-policy"]
    for rule in (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ):
        assert rule in policy
    assert "unsafe" not in policy
