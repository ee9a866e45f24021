"""The broker's pure parts: what its data is, why it ended, how it is set, which open transactions are ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.broker import settings as broker_settings
from stream.broker.data import Data, DataError, Identity, judge, new_cluster_id, read_properties
from stream.broker.reasons import explain
from stream.broker.settings import Place, broker_properties, controller_properties, log_properties
from stream.broker.transactions import Fence, Known, Marker, Open
from stream.broker.transactions import judge as judge_transaction
from stream.parts import KAFKA_VERSION

HERE = Path("data")
GOOD = {"cluster.id": "C", "directory.id": "D", "node.id": "1", "version": "1"}
KNOWN = Identity("C", "D", KAFKA_VERSION)
HALF = Identity("C", None, KAFKA_VERSION)


@pytest.mark.parametrize(
    ("meta", "known", "logs", "verdict"),
    [
        (None, None, False, "format"),
        (None, HALF, True, "format"),
        (GOOD, None, True, "start"),
        (GOOD, HALF, True, "start"),
        (GOOD, KNOWN, True, "start"),
        (None, KNOWN, True, "repair"),
        ({}, KNOWN, True, "repair"),
        ({**GOOD, "directory.id": "damaged"}, KNOWN, True, "repair"),
        ({**GOOD, "cluster.id": "damaged"}, KNOWN, True, "repair"),
        ({**GOOD, "node.id": "one"}, KNOWN, True, "repair"),
        ({**GOOD, "node.id": "3"}, KNOWN, True, "repair"),
    ],
)
def test_what_is_done_with_the_data(
    meta: dict[str, str] | None, known: Identity | None, logs: bool, verdict: str
) -> None:
    assert judge(meta, known, has_logs=logs, has_metadata=logs, where=HERE) == verdict


@pytest.mark.parametrize(
    ("meta", "known", "message"),
    [
        (GOOD, Identity("C", "D", "5.1.0"), "was written by Kafka 5.1.0; this is 4.3.1"),
        (GOOD, Identity("E", "F", KAFKA_VERSION), "belongs to cluster C, but identity.json beside it says E"),
        ({**GOOD, "version": "2"}, KNOWN, "has version 2; Kafka 4.3.1 knows 1"),
        ({**GOOD, "node.id": "7"}, None, "belongs to node 7"),
        (None, None, "meta.properties is missing or damaged"),
        ({"cluster.id": "C"}, None, "meta.properties is missing or damaged"),
    ],
)
def test_data_that_is_not_ours_is_refused_in_words(
    meta: dict[str, str] | None, known: Identity | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        judge(meta, known, has_logs=True, has_metadata=True, where=HERE)


def test_data_without_its_metadata_log_is_refused() -> None:
    with pytest.raises(DataError, match="__cluster_metadata-0 is missing"):
        judge(GOOD, KNOWN, has_logs=True, has_metadata=False, where=HERE)


def test_a_damaged_meta_properties_is_written_anew(tmp_path: Path) -> None:
    data = Data(Place(tmp_path, 20000))
    assert data.examine() == "format"
    meta = tmp_path / "kafka" / "meta.properties"
    meta.write_text("#\ncluster.id=C\ndirectory.id=D\nnode.id=1\nversion=1\n")
    (tmp_path / "kafka" / "__cluster_metadata-0").mkdir()
    assert data.remember() == KNOWN
    meta.write_bytes(b"\0\0\0\0")
    assert data.examine() == "repair"
    data.repair()
    assert read_properties(meta.read_text()) == GOOD
    assert data.examine() == "start"


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1), st.text(st.characters(categories=["L", "N"]))
    )
)
def test_properties_are_read_as_written(given_pairs: dict[str, str]) -> None:
    assert read_properties("#\n" + "".join(f"{k}={v}\n" for k, v in given_pairs.items())) == given_pairs


def test_cluster_ids_are_as_kafka_makes_them() -> None:
    ids = {new_cluster_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(one) == 22 and not one.startswith("-") for one in ids)


@pytest.mark.parametrize(
    ("code", "console", "message"),
    [
        (-9, ["WARN something"], "was killed by SIGKILL (by somebody, or by the kernel for want of memory)"),
        (1, ["ERROR Error while writing meta (x)", "java.io.IOException: No space left on device"], "the disk is full"),
        (1, ["org.apache.kafka.common.KafkaException: Socket server failed to bind to 127.0.0.1:9: Address already in use."], "port was taken"),
        (1, ["ERROR Failed to acquire lock on file .lock in /d. A Kafka instance in another process"], "another Kafka uses the same data"),
        (3, ["Terminating due to java.lang.OutOfMemoryError: Java heap space"], "larger `stream.heap`"),
        (1, ["Error: LinkageError: java.lang.UnsupportedClassVersionError: kafka/Kafka"], "17 or newer is needed"),
        (1, ["java.io.IOException: Input/output error"], "the disk reports input/output errors"),
        (1, ["WARN a", "ERROR something new (Log)", "at x"], "It said: ERROR something new"),
        (0, ["INFO Becoming the active controller"], "ended by itself with code 0 and did not say why"),
    ],
)  # fmt: skip
def test_why_a_broker_ended_is_said_in_words(code: int, console: list[str], message: str) -> None:
    assert message in explain(code, console)


def test_nothing_listens_off_loopback_and_durability_is_for_the_whole_broker() -> None:
    place = Place(HERE, 20000)
    synced, lazy = (read_properties(broker_properties(place, how)) for how in ("synced", "lazy"))
    assert synced["listeners"] == "BROKER://127.0.0.1:20000,CONTROLLER://127.0.0.1:20001"
    assert read_properties(controller_properties(place))["listeners"] == "CONTROLLER://127.0.0.1:20001"
    assert synced.items() - lazy.items() == {("log.flush.interval.messages", "1")}
    with pytest.raises(ValueError, match="right would be synced or lazy"):
        broker_properties(place, "quick")


def test_every_setting_says_why() -> None:
    tables = (broker_settings.COMMON, broker_settings.BROKER, broker_settings.SAFE_START, broker_settings.SYNCED)
    assert [name for table in tables for name, (_, why) in table.items() if not why] == []


def test_the_log_is_bounded_and_shows_the_lines_that_matter() -> None:
    text = log_properties(HERE)
    assert "size=4MB" in text
    assert "strategy.max=4" in text
    assert f"regex=(?s).*{broker_settings.SWALLOWED}.*" in text


OPEN = Open("telemetry.clean", 3, 7, 2, 0, 1000)
NOW = 1_000_000


def known(state: str, epoch: int = 2, mine: bool = True, age_ms: int = 1000) -> dict[int, Known]:
    partitions = frozenset({("telemetry.clean", 3)}) if mine else frozenset[tuple[str, int]]()
    return {7: Known("validator-0", state, 60_000, NOW - age_ms, 7, epoch, partitions)}


@pytest.mark.parametrize(
    ("coordinator", "verdict"),
    [
        (known("Ongoing"), None),
        (known("PrepareCommit"), None),
        (known("PrepareAbort"), None),
        (known("Ongoing", age_ms=80_000), None),
        (known("Ongoing", age_ms=91_000), "fence"),
        (known("PrepareCommit", age_ms=91_000), None),
        (known("Ongoing", mine=False), "abort"),
        (known("Empty", mine=False), "abort"),
        (known("CompleteAbort", mine=False), "abort"),
        (known("CompleteCommit", mine=False), "commit"),
        (known("CompleteCommit", mine=False, epoch=3), "abort"),
        ({}, "abort"),
    ],
)
def test_an_open_transaction_is_ended_only_when_nobody_will(coordinator: dict[int, Known], verdict: str | None) -> None:
    found = judge_transaction(OPEN, coordinator, NOW)
    how = {True: "commit", False: "abort"}[found.commit] if isinstance(found, Marker) else found and "fence"
    assert how == verdict
    if isinstance(found, Marker | Fence):
        assert "telemetry.clean partition 3 from offset 1000" in found.why
