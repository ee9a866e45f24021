"""Is the broker fenced? Read from metadata records, and from what a real broker writes in each state of its life."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.broker import process as broker_process
from stream.broker.fencing import after, fenced
from stream.broker.repair import METADATA
from tests.kit.kafka_server import make


def change(fencing: int | None, node: int = 1) -> bytes:
    """A BrokerRegistrationChangeRecord: frame 1, apiKey 17, version 2; `fencing` is 1, -1, or not in it."""
    tags = b"\0" if fencing is None else b"\x01\0\x01" + struct.pack(">b", fencing)
    return b"\x01\x11\x02" + struct.pack(">iq", node, 13) + tags


def register(flag: bool, node: int = 1) -> bytes:
    """A RegisterBrokerRecord, version 3, with one endpoint and one feature."""
    endpoints = b"\x02" + b"\x07BROKER" + b"\x0a127.0.0.1" + struct.pack(">Hh", 19092, 0) + b"\0"
    features = b"\x02" + b"\x11metadata.version" + struct.pack(">hh", 7, 30) + b"\0"
    front = b"\x01\x00\x03" + struct.pack(">i?", node, False) + bytes(16) + struct.pack(">q", 13)
    return front + endpoints + features + b"\0" + struct.pack(">??", flag, False) + b"\0"


@pytest.mark.parametrize(
    ("before", "record", "then"),
    [
        (True, change(-1), False),
        (False, change(1), True),
        (False, change(None), False),
        (True, change(None), True),
        (True, change(-1, node=2), True),
        (False, register(True), True),
        (True, register(False), False),
        (True, register(False, node=3), True),
        (False, b"\x01\x07\x00" + struct.pack(">iq", 1, 13) + b"\0", True),
        (True, b"\x01\x08\x00" + struct.pack(">iq", 1, 13) + b"\0", False),
        (False, b"\x01\x01\x00" + struct.pack(">iq", 1, 13) + b"\0", True),
        (False, b"\x01\x14\x00\0", False),
    ],
)
def test_what_a_record_does(before: bool, record: bytes, then: bool) -> None:
    assert after(before, record) is then


@given(st.lists(st.sampled_from([1, -1]), min_size=1))
def test_the_last_word_counts(words: list[int]) -> None:
    state = True
    for word in words:
        state = after(state, change(word))
    assert state is (words[-1] == 1)


async def test_a_running_broker_is_not_fenced_and_a_stopped_one_is(tmp_path: Path) -> None:
    metadata = tmp_path / "kafka" / METADATA
    broker = make(tmp_path)
    await broker.start()
    assert not fenced(metadata)
    assert await broker.stop()
    assert fenced(metadata)


async def test_a_safe_start_that_is_cut_short_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at once, and the safe start's controller killed too: the next start does not take the data for safe."""
    broker = make(tmp_path)
    await broker.start()
    assert broker.pid
    os.kill(broker.pid, signal.SIGKILL)
    await broker.kill()
    real = broker_process.start

    async def start_and_kill(*given: object, **more: object) -> broker_process.ChildProcess:
        child = await real(*given, **more)  # type: ignore[arg-type]
        child.kill()
        return child

    cut = make(tmp_path, broker.place.port)
    monkeypatch.setattr(broker_process, "start", start_and_kill)
    with pytest.raises(Exception, match="killed by SIGKILL"):
        await cut.start()
    monkeypatch.undo()
    assert not fenced(tmp_path / "kafka" / METADATA)
    again = make(tmp_path, broker.place.port)
    started = await again.start()
    assert started.safe_start_s is not None
    assert await again.stop()
