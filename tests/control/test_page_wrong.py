"""What a shift worker sees on the page when something is wrong: each cause with its step, points without a value, dead letters."""

import time

import pytest
from playwright.sync_api import expect

from actors.adapter_causes import Since, tell
from actors.context import Context
from control.values import refused
from protocols.contract import Cause
from schemas.records import Document, Quality
from tests.control.test_page import CONTRAST
from tests.kit.pages import branch, readings, worker

pytestmark = pytest.mark.xdist_group("page")

NAMES = tuple(f"press_{n // 50}/parameter_{n} (4{n:04d})" for n in range(300))
CAUSES = (
    Cause("unit 7, holding registers (function 3): exception 2", NAMES, next_step="correct the address"),
    Cause("the device sent NaN: not a number", ("press_9/x (40001)",), next_step="look at the sensor"),
)


def troubled():
    said = Context("x", {})
    tell(said, Since(), CAUSES, time.time() - 300)
    return worker(
        "data_path/adapters/presses", "DEGRADED", reason=said.reason, next_step=said.next_step, facts=said.facts
    )


def validator():
    last = {"at": time.time() - 4, "letters": "dlq.telemetry", "rule": "range", "reason": "range: 999.2 is above 120", "asset": "press_4", "parameter": "oil"}  # fmt: skip
    return worker("data_path/processing/validator-0", counters={"refused_total": 152}, facts={"last_refused": last})


@pytest.fixture(params=[("light", 1024), ("dark", 1024), ("light", 1920), ("dark", 1920)], ids=str)
def page(browser, page_server, request):
    scheme, width = request.param
    page_server.tree(branch("data_path", validator(), branch("data_path/adapters", troubled())))
    page_server.note(readings("press_1", "pressure", [181.5]))
    at = int((time.time() - 900) * 1e6)
    never = {
        "asset_id": "valve",
        "parameter": "flow",
        "arrived_at": at,
        "stage": "data_path/adapters/presses",
        "reason": "unit 7: exception 2, " + "long " * 60,
    }
    page_server.values._show(at, refused(Document("dlq.telemetry", b"", "dead_letter", never), None))
    opened = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    opened.goto(page_server.url)
    opened.locator("#values tbody tr").first.wait_for()
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing overflows"
    ratio = opened.evaluate(CONTRAST.replace(".problems li", ".problems li, .letters li, .next, .why, summary"))
    assert min(ratio.values()) >= 4.5, ratio
    opened.close()


def test_each_cause_is_said_once_with_its_step_and_all_points_are_in_the_details(page):
    problem = page.get_by_label("Problems")
    expect(problem).to_contain_text("300 points have no value: press_0/parameter_0 (40000)")
    expect(problem).to_contain_text("for 5 min")
    text = problem.inner_text()
    assert "correct the address" in text
    assert "look at the sensor" in text
    assert len(text) < 700
    problem.get_by_role("button", name="presses").click()
    page.locator("aside summary").click()
    expect(page.locator("aside details")).to_contain_text("press_5/parameter_299 (40299)")


def test_a_point_that_never_had_a_value_is_in_the_list_with_the_reason_and_since_when(page):
    expect(page.locator("#values")).to_contain_text("only not GOOD (1)")
    page.keyboard.press("/")
    page.keyboard.type("exception 2")
    row = page.locator("#values tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("valve")
    expect(row).to_contain_text("BAD for 15 min")
    expect(row).to_contain_text("unit 7: exception 2")


def test_a_value_beyond_reason_keeps_its_column(page, page_server):
    """As of a point whose word order is wrong."""
    page_server.note(readings("press_2", "speed", [8.99612809e35]))
    row = page.locator("#values tbody tr", has_text="press_2")
    expect(row).to_contain_text("8.996e+35")


def test_what_nobody_reads_any_more_is_not_good(page, page_server):
    row = page.locator("#values tbody tr", has_text="press_1")
    expect(row).to_contain_text("GOOD")
    parked = worker("data_path/adapters/presses", "FAILED", state="failed", reason="no key")
    page_server.tree(branch("data_path", branch("data_path/adapters", parked)))
    expect(row).to_contain_text("STALE")
    expect(row).to_contain_text("its adapter presses is FAILED: nobody reads it")
    page_server.tree(branch("data_path", branch("data_path/adapters", worker("data_path/adapters/another"))))
    expect(row).to_contain_text("no adapter presses is configured any more")


def test_dead_letters_are_counted_with_the_newest_reason_and_the_command(page):
    letters = page.get_by_label("Refused")
    expect(letters).to_contain_text("validator-0 152")
    expect(letters).to_contain_text("press_4/oil range: 999.2 is above 120")
    expect(letters).to_contain_text("streamforge tail dlq.telemetry --last 5 --no-follow")


def test_names_of_hundreds_of_points_are_not_sent_each_second(page_server):
    page_server.tree(troubled())
    assert "parameter_299" not in page_server.state.frame()
    assert len(page_server.state.health()["problems"][0]["causes"][0]["names"]) == 300


def test_a_quality_that_lasts_says_since_when(page_server):
    page_server.note(readings("press_1", "pressure", [1.0], Quality.SUSPECT))
    first = page_server.values.since(-1)[1][0]["since"]
    page_server.note(readings("press_1", "pressure", [2.0], Quality.SUSPECT))
    assert page_server.values.since(-1)[1][0]["since"] == first
    page_server.note(readings("press_1", "pressure", [2.0]))
    assert page_server.values.since(-1)[1][0]["since"] > first
