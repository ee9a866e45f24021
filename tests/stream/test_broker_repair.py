"""Damage to the broker's files, one at a time: repaired or named, never passed over. The files are what Kafka 4.3.1 wrote."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from stream.broker.data import DataError
from stream.broker.metadata_log import batch_after, check, whole_until
from stream.broker.repair import Repair, checkpoint_whole, partition_metadata, quorum_state_whole, right_id, topic_id

RECOVERY = "0\n2\n__consumer_offsets 0 0\npractice 1 20\n"
QUORUM = '{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}'
ID = bytes(range(16))
OTHER = bytes(range(100, 116))


@pytest.mark.parametrize(
    ("text", "columns", "whole"),
    [
        (RECOVERY, 3, True),
        ("0\n0\n", 3, True),
        ("", 3, True),
        ("0\n1\n0 0\n", 2, True),
        ("0\n3\npractice 1 20\n", 3, False),
        ("0\n1\npractice 1 2\x10\n", 3, False),
        ("1\n0\n", 3, False),
        ("0", 3, False),
        ("garbage", 3, False),
    ],
)
def test_checkpoint_files_are_read_as_kafka_reads_them(text: str, columns: int, whole: bool) -> None:
    assert checkpoint_whole(text, columns) is whole


def test_quorum_state() -> None:
    assert quorum_state_whole(QUORUM)
    assert not quorum_state_whole(QUORUM.replace("votedDirectoryId", "votedDirectoryIt"))
    assert not quorum_state_whole(QUORUM[:-3])
    assert not quorum_state_whole("[]")


@given(st.binary(min_size=16, max_size=16))
def test_topic_ids_go_there_and_back(identity: bytes) -> None:
    assert topic_id(partition_metadata(identity)) == identity


def test_a_damaged_topic_id_is_known() -> None:
    assert topic_id("version: 0\ntopic_id: MxscN6G0R9KJF57eAkdqEg") is not None
    assert topic_id("version: 0\ntopic_id: MxscN6G0R9KJF57e]kdqEg") is None
    assert topic_id("version: 0\ntopic_id: Mxsc") is None
    assert topic_id("") is None


@pytest.mark.parametrize(
    ("own", "others", "right"),
    [
        (ID, [], ID),
        (None, [], None),
        (None, [ID], ID),
        (None, [ID, ID, OTHER], ID),
        (None, [ID, OTHER], None),
        (ID, [OTHER, OTHER], ID),
        (b"\x80" + ID[1:], [ID, ID], ID),
        (b"\x80" + ID[1:], [ID], b"\x80" + ID[1:]),
    ],
)
def test_a_partitions_topic_id_by_its_siblings(own: bytes | None, others: list[bytes], right: bytes | None) -> None:
    assert right_id(own, others) == right


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a topic of two partitions and one of one."""
    root = tmp_path / "kafka"
    for name, identity in (("__cluster_metadata-0", bytes(15) + b"\1"), ("t-0", ID), ("t-1", ID), ("one-0", OTHER)):
        (root / name).mkdir(parents=True)
        (root / name / "partition.metadata").write_text(partition_metadata(identity))
        (root / name / "leader-epoch-checkpoint").write_text("0\n1\n0 0\n")
        (root / name / f"{0:020}.log").write_bytes(b"x")
    (root / "__cluster_metadata-0" / "quorum-state").write_text(QUORUM)
    (root / "__cluster_metadata-0" / f"{0:020}-{0:010}.checkpoint").write_bytes(b"snapshot")
    (root / "bootstrap.checkpoint").write_bytes(b"bootstrap")
    (root / "recovery-point-offset-checkpoint").write_text(RECOVERY)
    repair(root).keep_copies()
    return root


def repair(data: Path) -> Repair:
    return Repair(data, data.parent / "damaged", data.parent / "formatted")


def everything(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_what_is_whole_is_left_alone(data: Path) -> None:
    before = everything(data)
    assert repair(data).run() == []
    assert everything(data) == before


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("recovery-point-offset-checkpoint", False),
        ("t-1/leader-epoch-checkpoint", False),
        ("t-1/partition.metadata", True),
        ("__cluster_metadata-0/partition.metadata", True),
        ("__cluster_metadata-0/quorum-state", False),
        ("bootstrap.checkpoint", True),
        (f"__cluster_metadata-0/{0:020}-{0:010}.checkpoint", True),
    ],
)
@pytest.mark.parametrize(
    "harm", [lambda _: b"\0\xff garbage", lambda raw: bytes([raw[0] ^ 0x10]) + raw[1:]], ids=["garbage", "flip"]
)
def test_each_damaged_file_is_set_aside_and_made_again(
    data: Path, name: str, again: bool, harm: Callable[[bytes], bytes]
) -> None:
    before = everything(data)
    damaged = harm(before[name])
    (data / name).write_bytes(damaged)
    (said,) = repair(data).run()
    assert said.startswith(f"{name} was damaged and set aside")
    after = everything(data)
    assert after.get(name) == (before[name] if again else None)
    assert [path.read_bytes() for path in (data.parent / "damaged").iterdir()] == [damaged]
    assert repair(data).run() == []


def test_a_missing_partition_metadata_is_made_again_before_kafka_forgets_the_partition(data: Path) -> None:
    (data / "t-0" / "partition.metadata").unlink()
    assert repair(data).run() == ["t-0/partition.metadata was missing; the topic's id is known"]
    assert topic_id((data / "t-0" / "partition.metadata").read_text()) == ID


def test_what_cannot_be_made_again_is_named(data: Path) -> None:
    (data / "one-0" / "partition.metadata").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"one-0/partition.metadata is missing or damaged, and no other partition of one"
    ):
        repair(data).run()
    (data / "one-0" / f"{0:020}.log").write_bytes(b"")
    assert repair(data).run() == []


def batch(offset: int, body: bytes) -> bytes:
    """A record batch as far as its frame goes."""
    rest = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + body
    return struct.pack(">qiibI", offset, 9 + len(rest), 1, 2, calc_crc32c(rest)) + rest


LOG = b"".join(batch(n, bytes([n % 256]) * (n % 50)) for n in range(40))


@given(st.integers(0, len(LOG) - 1), st.integers(1, 255))
def test_any_changed_byte_of_the_metadata_log_is_found(at: int, change: int) -> None:
    """The leader epoch stands outside of the checksum: that is Kafka's to check."""
    raw = bytearray(LOG)
    raw[at] ^= change
    position = 0
    while position + 12 + struct.unpack_from(">i", LOG, position + 8)[0] <= at:
        position += 12 + struct.unpack_from(">i", LOG, position + 8)[0]
    end = whole_until(bytes(raw), 0)
    if at - position in range(12, 16):
        assert end == len(LOG)
    else:
        assert end == position


def test_a_torn_end_is_kafkas_business_and_a_damaged_middle_is_not(tmp_path: Path) -> None:
    path = tmp_path / f"{0:020}.log"
    path.write_bytes(LOG)
    check(tmp_path, used=True)
    path.write_bytes(LOG[:-7])
    check(tmp_path, used=True)
    path.write_bytes(LOG + bytes(4096))
    check(tmp_path, used=True)
    middle = bytearray(LOG)
    middle[230] ^= 1
    path.write_bytes(middle)
    with pytest.raises(DataError, match=rf"{path.name} is damaged at byte"):
        check(tmp_path, used=True)
    assert batch_after(LOG[:-7], whole_until(LOG[:-7], 0)) is None


@pytest.mark.parametrize("content", [b"", b"\0\xff garbage" * 5])
def test_an_empty_metadata_log_is_only_right_before_the_first_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{0:020}.log").write_bytes(content)
    (tmp_path / f"{0:020}-{0:010}.checkpoint").write_bytes(batch(0, b"voters"))
    check(tmp_path, used=False)
    with pytest.raises(DataError, match="Kafka would forget every topic"):
        check(tmp_path, used=True)


def test_a_damaged_snapshot_and_a_damaged_old_segment_are_named(tmp_path: Path) -> None:
    (tmp_path / f"{0:020}.log").write_bytes(LOG[:-7])
    (tmp_path / f"{40:020}.log").write_bytes(batch(40, b"x"))
    with pytest.raises(DataError, match=f"{0:020}.log is damaged"):
        check(tmp_path, used=True)
    (tmp_path / f"{0:020}.log").unlink()
    snapshot = tmp_path / f"{40:020}-{1:010}.checkpoint"
    snapshot.write_bytes(batch(0, b"all"))
    check(tmp_path, used=True)
    snapshot.write_bytes(batch(0, b"all")[:-1])
    with pytest.raises(DataError, match=f"{snapshot.name} is damaged"):
        check(tmp_path, used=True)
