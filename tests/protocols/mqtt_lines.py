"""Cases and README examples as text: how a message is written down, and a reading or reject as one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from protocols.contract import Reading, Reject
from protocols.mqtt.config import MqttConfig
from protocols.mqtt.mapping import Mapper, Message

ARRIVED = 1_769_680_805_000_000
"""2026-01-29T10:00:05Z."""


def mapper(subscriptions: list[dict[str, Any]], **settings: Any) -> Mapper:
    config = {"id": "case", "protocol": "mqtt", "host": "broker", "subscriptions": subscriptions, **settings}
    return Mapper(MqttConfig.model_validate(config))


def message(given: dict[str, Any], folder: Path = Path()) -> Message:
    payload = bytes.fromhex(given["hex"]) if "hex" in given else str(given.get("payload", "")).encode()
    if "file" in given:
        payload = (folder / given["file"]).read_bytes()
    flags = {name: given[name] for name in ("qos", "retain", "dup") if name in given}
    return Message(given["topic"].encode(), payload, ARRIVED, len(payload), **flags)


def lines(one: Mapper, messages: list[dict[str, Any]], folder: Path = Path()) -> Iterator[str]:
    """What becomes of the messages, a line for each reading and reject."""
    for given in messages:
        mapped = one.map(message(given, folder))
        yield from map(reading_line, mapped.readings)
        yield from map(reject_line, mapped.rejects)
        if mapped.unmatched:
            yield f"UNMATCHED {given['topic']}"


def reading_line(reading: Reading) -> str:
    """`press_4 temperature 85.4 celsius EVENT @2026-01-29T10:00:00Z raw=31 UNCERTAIN: reason`, what there is of it."""
    point = reading.point
    parts = [point.asset, point.parameter, json.dumps(reading.value, ensure_ascii=False), point.unit or ""]
    parts.append(point.classification.name if point.classification else "")
    parts.append(f"@{time_text(reading.device_time)}" if reading.device_time is not None else "")
    parts.append(f"raw={reading.raw.hex()}" if reading.raw is not None else "")
    parts.append(f"{reading.status.name}: {reading.reason}" if reading.status else "")
    return " ".join(part for part in parts if part)


def reject_line(reject: Reject) -> str:
    where = f" [{reject.asset} {reject.parameter}]" if reject.parameter else ""
    return f"REJECT {reject.rule}{where} {reject.reason}"


def time_text(microseconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return moment.isoformat().replace("+00:00", "Z")
