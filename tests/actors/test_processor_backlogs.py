"""The aggregator's runtime on a real broker, after the stream was away: points of one partition hand over what they held one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actors.context import Context
from tests.kit.records import NOON, series
from tests.kit.sink_worker import Source
from tests.kit.stage_worker import assets, stage_config, working, written
from tests.kit.waiting import until

Unique = Callable[[str], str]
SECOND = 1_000_000
PARTITION = 2
AWAY, MIDST, BACK, END = 30, 240, 480, 540
"""Seconds: the stream goes away, the stage is started anew in the midst of what was held, the stream had come back, all is read."""


def rows(begin: int, end: int) -> list[tuple[int, float]]:
    """Two readings a second."""
    return [(NOON + half * SECOND // 2, float(half)) for half in range(2 * begin, 2 * end)]


async def test_minutes_that_are_handed_over_unevenly_are_in_whole_windows(
    stage_kafka: str, unique: Unique, tmp_path: Path
) -> None:
    asset = next(assets(unique("uneven"), PARTITION))
    config = stage_config(stage_kafka, tmp_path, "aggregator", PARTITION)
    too_late = 0

    async def newest(interval: str, parameter: str) -> dict[int, int]:
        """The count of each window, by the second it begins."""
        _, documents = await written(stage_kafka, tmp_path, [f"telemetry.{interval}"], [PARTITION], asset)
        fields = [document.fields for document in documents if document.fields["parameter"] == parameter]
        return {(f["window_start"] - NOON) // SECOND: f["count"] for f in fields}

    async with Source(stage_kafka, tmp_path) as source:

        async def give(parameter: str, begin: int, end: int) -> None:
            await source.readings("telemetry.clean", series(asset, parameter), rows(begin, end), PARTITION)

        async with working(config) as context:
            await give("slow", 0, AWAY)
            await give("fast", 0, BACK)
            for begin in range(AWAY, MIDST, 30):
                await give("slow", begin, begin + 30)
                await until(lambda n=2 * (BACK + begin + 30): context.counters.get("read_total", 0) >= n)
            too_late += total_too_late(context)
        async with working(config) as context:
            await give("fast", BACK, END)
            await give("slow", MIDST, END)

            async def whole() -> bool:
                return [sum((await newest("1s", point)).values()) for point in ("fast", "slow")] == [2 * END] * 2

            await until(whole)
            too_late += total_too_late(context)
    assert too_late == 0
    for point in ("fast", "slow"):
        assert await newest("1s", point) == dict.fromkeys(range(END), 2)
        assert await newest("1min", point) == {60 * minute: 120 for minute in range(END // 60)}


def total_too_late(context: Context) -> int:
    return sum(n for name, n in context.counters.items() if name.startswith("too_late_total"))
