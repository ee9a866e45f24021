"""What the page shows of a point that is quiet: its newest value, from the first moment somebody looks."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from actors.adapter_records import TOPICS
from actors.context import Context
from actors.sink_figures import GATEWAY_STARTED_US
from control import values as module
from control.values import Values
from pipeline.validator import CLEAN
from schemas.records import Classification
from stream.codec import Template, dead_letter
from tests.kit.records import NOON, series
from tests.kit.sink_worker import Source, rows
from tests.kit.waiting import until


@pytest.fixture
async def topic(new_topic, monkeypatch):
    name = await new_topic(partitions=2)
    monkeypatch.setattr(module, "WATCHED", (name,))
    monkeypatch.setattr(module, "REFUSED", ())
    monkeypatch.setattr(module, "READ_EVERY_S", 0.02)
    return name


@asynccontextmanager
async def looking(values):
    values.watch(1)
    try:
        yield
    finally:
        values.watch(-1)


@pytest.fixture
async def values(kafka, topic, tmp_path):
    found = Values(Context(id="api", config={"bootstrap": kafka, "partitions": 2, "data_dir": str(tmp_path)}))
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def refused(new_topic, topic, monkeypatch):
    """A topic of dead letters that is watched too."""
    name = await new_topic(partitions=2)
    monkeypatch.setattr(module, "REFUSED", (name,))
    return name


def shown(values):
    return {value["asset"]: value["value"] for value in values.since(-1)[1]}


async def test_a_point_that_is_quiet_is_shown_to_whoever_begins_to_look(values, kafka, topic, tmp_path):
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series("press"), rows(1, 3))
        async with looking(values):
            await until(lambda: shown(values) == {"press": 3.0})
        # Both while nobody looks.
        await source.readings(topic, series("press"), rows(4, 2))
        await source.readings(topic, series("oven"), rows(7, 1), partition=1)
        async with looking(values):
            await until(lambda: len(shown(values)) == 2)
            assert shown(values) == {"press": 5.0, "oven": 7.0}


async def test_no_more_than_a_page_takes_is_read_of_the_past(values, kafka, topic, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAST_MAX", 10)
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series("old"), rows(1, 1))
        await source.readings(topic, series("new"), rows(2, 20))
        async with looking(values):
            await until(lambda: shown(values).get("new") == 21.0)
            assert "old" not in shown(values)


async def test_a_point_that_has_been_quiet_for_long_is_shown_too(values, kafka, topic, tmp_path, monkeypatch):
    """Far beyond what is skipped of a stream that is too fast for a page."""
    monkeypatch.setattr(module, "BEHIND_MAX", 10)
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series("recipe"), rows(5, 1))
        await source.readings(topic, series("speed"), rows(0, 3000))
        async with looking(values):
            await until(lambda: shown(values).get("speed") == 2999.0)
            assert shown(values)["recipe"] == 5.0
        await source.readings(topic, series("recipe"), rows(6, 1))
        await source.readings(topic, series("speed"), rows(3000, 3000))
        async with looking(values):
            await until(lambda: shown(values).get("speed") == 5999.0)
            assert shown(values)["recipe"] == 6.0


def test_readings_of_every_class_are_shown():
    read = {TOPICS[one] for one in Classification if one is not Classification.LOG}
    assert {CLEAN.get(topic, topic) for topic in read} == set(module.WATCHED)


START = GATEWAY_STARTED_US


def of(values, asset):
    return next((value for value in values.since(-1)[1] if value["asset"] == asset), None)


async def letter(source, topic, asset, reason, *, arrived, value=None, **more):
    """As the validator writes one about a reading, or an adapter about a payload."""
    wire = b"\xff\x00" if value is None else Template(series("press"), 1).encode(value, arrived, NOON)
    where = ("", -1, -1) if value is None else ("telemetry.raw", 0, 7)
    given = {
        "stage": "data_path/processing/validator-0",
        "rule": "source",
        "asset": asset,
        "parameter": "speed",
    }
    given |= more
    await source.document(
        topic, dead_letter(topic, reason=reason, source=where, arrived_at=arrived, original=wire, **given)
    )


async def test_a_point_that_never_had_a_value_is_shown_with_the_reason_and_since_when(
    values, kafka, topic, refused, tmp_path
):
    async with Source(kafka, tmp_path) as source:
        await letter(source, refused, "valve", "unit 7: exception 2", arrived=START + 5)
        await letter(source, refused, "valve", "unit 7: exception 4", arrived=START + 9)
        async with looking(values):
            await until(lambda: (of(values, "valve") or {}).get("time") == START + 9)
    valve = of(values, "valve")
    assert valve["since"] == START + 5
    assert (valve["value"], valve["quality"], valve["reason"]) == (None, "BAD", "unit 7: exception 4")


async def test_the_newer_of_a_good_and_a_bad_reading_is_shown_whichever_is_read_first(
    values, kafka, topic, refused, tmp_path
):
    async with Source(kafka, tmp_path) as source:
        await source.readings(topic, series("press"), rows(1, 3))
        async with looking(values):
            await until(lambda: of(values, "press"))
            assert of(values, "press")["quality"] == "GOOD"
            later = time.time_ns() // 1000 + 60_000_000
            await letter(source, refused, "press", "range: 999 is above 120", value=999.0, arrived=later)
            await until(lambda: of(values, "press")["quality"] == "BAD")
            assert (of(values, "press")["value"], of(values, "press")["reason"]) == (999.0, "range: 999 is above 120")
            assert of(values, "press")["since"] == of(values, "press")["time"]
            await letter(source, refused, "press", "older", arrived=later - 1)
            await letter(source, refused, "oven", "no value", arrived=START + 1)
            await until(lambda: of(values, "oven"))
            assert of(values, "press")["reason"] == "range: 999 is above 120"


@pytest.mark.parametrize(
    "more",
    [{"rule": "duplicate"}, {"stage": "data_path/sinks/historian", "rule": "refused_by_sink"}, {"parameter": None}],
)
async def test_a_dead_letter_that_says_nothing_of_its_point_makes_it_not_bad(
    values, kafka, topic, refused, tmp_path, more
):
    async with Source(kafka, tmp_path) as source:
        await letter(source, refused, "press", "again", arrived=START + 1, **more)
        await letter(source, refused, "oven", "no value", arrived=START + 1)
        async with looking(values):
            await until(lambda: of(values, "oven"))
        assert of(values, "press") is None


async def test_what_was_bad_before_the_gateway_was_started_is_not_bad_for_ever(values, kafka, topic, refused, tmp_path):
    """Its adapter would have said so again; the point may be gone from the configuration."""
    async with Source(kafka, tmp_path) as source:
        await letter(source, refused, "gone", "no value", arrived=START - 1)
        await letter(source, refused, "oven", "no value", arrived=START)
        async with looking(values):
            await until(lambda: of(values, "oven"))
        assert of(values, "gone") is None


def test_what_one_partition_does_not_need_others_get():
    assert module.shares({("t", 0): 5, ("t", 1): 10**6}, 1000) == {("t", 0): 5, ("t", 1): 995}
    assert module.shares({("t", n): 10**6 for n in range(4)}, 1000) == {("t", n): 250 for n in range(4)}
    assert module.shares({}, 1000) == {}
