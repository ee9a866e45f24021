"""What the page shows of a point that is quiet: its newest value, from the first moment somebody looks."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from actors.adapter_records import TOPICS
from actors.context import Context
from control import values as module
from control.values import Values
from pipeline.validator import CLEAN
from schemas.records import Classification
from tests.kit.records import series
from tests.kit.sink_worker import Source, rows
from tests.kit.waiting import until


@pytest.fixture
async def topic(new_topic, monkeypatch):
    name = await new_topic(partitions=2)
    monkeypatch.setattr(module, "WATCHED", (name,))
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
