"""Small files of the data directory that stop Kafka when they are damaged, and can be made again: before each start they are read, and what
is damaged is set aside or written anew. What was done is said; nothing is thrown away.

meta.properties is broker_data's, the metadata log broker_metadata_log's. Segments and their indexes Kafka heals itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stream.broker.data import DataError, sync_directory, write_synced

CHECKPOINTS = (
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "cleaner-offset-checkpoint",
)
"""Kafka writes them again; without them it reads more of its logs, no less."""
METADATA = "__cluster_metadata-0"
METADATA_TOPIC_ID = bytes(15) + b"\1"
"""The one topic id that is the same everywhere."""
FORMATTED = ("bootstrap.checkpoint", f"{METADATA}/00000000000000000000-0000000000.checkpoint")
"""Written once by the format and never changed: a copy is kept."""
QUORUM_STATE = {"leaderId", "leaderEpoch", "votedId", "votedDirectoryId", "data_version"}
LEAVING = ("-delete", "-stray", "-future")


def checkpoint_whole(text: str, columns: int) -> bool:
    """Kafka's checkpoint files: a version, a count, and as many lines; the last columns are numbers. Empty is as good as none."""
    lines = text.splitlines()
    if not lines:
        return True
    if len(lines) < 2 or lines[0] != "0" or not lines[1].isdigit() or len(lines) != int(lines[1]) + 2:
        return False
    rows = [line.split(" ") for line in lines[2:]]
    return all(len(row) == columns and all(word.isdigit() for word in row[-2:]) for row in rows)


def topic_id(text: str) -> bytes | None:
    """The 16 bytes of the id in a partition.metadata, None when it is damaged."""
    lines = text.splitlines()
    if len(lines) != 2 or lines[0] != "version: 0" or not lines[1].startswith("topic_id: "):
        return None
    try:
        raw = base64.b64decode(lines[1].removeprefix("topic_id: ") + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 16 else None


def partition_metadata(identity: bytes) -> str:
    return f"version: 0\ntopic_id: {base64.urlsafe_b64encode(identity).decode().rstrip('=')}"


def right_id(own: bytes | None, others: Sequence[bytes]) -> bytes | None:
    """What a partition's topic id should be, by its topic's other partitions; None when they cannot tell.

    An id that differs from theirs in one byte is theirs, damaged; one that differs in more is a topic of its own: Kafka's business.
    """
    if not others:
        return own
    (most, votes), *rest = Counter(others).most_common(2)
    if rest and rest[0][1] == votes:
        return own
    if own is None:
        return most
    return most if votes > 1 and sum(x != y for x, y in zip(own, most, strict=True)) == 1 else own


def quorum_state_whole(text: str) -> bool:
    try:
        given = json.loads(text)
    except ValueError:
        return False
    return isinstance(given, dict) and given.keys() >= QUORUM_STATE and isinstance(given["leaderEpoch"], int)


class Repair:
    """One round over `data`; what is damaged goes to `aside`, the copies of `FORMATTED` lie in `kept`."""

    def __init__(self, data: Path, aside: Path, kept: Path) -> None:
        self._data, self._aside, self._kept = data, aside, kept
        self.done: list[str] = []
        """One sentence for each file."""

    def keep_copies(self) -> None:
        """After the format."""
        for name in FORMATTED:
            copy = self._kept / name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._data / name, copy)
                sync_directory(copy.parent)

    def run(self) -> list[str]:
        """Look at every file; DataError names one that cannot be made again."""
        for name in CHECKPOINTS:
            self._checkpoint(self._data / name, 3)
        self._formatted()
        partitions = [
            path for path in sorted(self._data.iterdir()) if path.is_dir() and not path.name.endswith(LEAVING)
        ]
        ids = {path: topic_id(_text(path / "partition.metadata")) for path in partitions}
        for path in partitions:
            self._checkpoint(path / "leader-epoch-checkpoint", 2)
            self._partition_metadata(path, ids)
        state = self._data / METADATA / "quorum-state"
        if state.exists() and not quorum_state_whole(_text(state)):
            self._set_aside(state, "the epoch is read from the log")
        return self.done

    def _checkpoint(self, path: Path, columns: int) -> None:
        if path.exists() and not checkpoint_whole(_text(path), columns):
            self._set_aside(path, "Kafka makes it again from its logs")

    def _formatted(self) -> None:
        for name in FORMATTED:
            copy, path = self._kept / name, self._data / name
            # Kafka removes the metadata's one when a newer snapshot stands.
            expected = path.exists() or name == "bootstrap.checkpoint"
            if copy.exists() and expected and _bytes(path) != copy.read_bytes():
                if path.exists():
                    self._set_aside(path, "written anew from the copy")
                shutil.copyfile(copy, path)
                sync_directory(path.parent)

    def _partition_metadata(self, path: Path, ids: dict[Path, bytes | None]) -> None:
        """With a wrong id or none Kafka would rename the directory and forget the partition."""
        topic, own = path.name.rpartition("-")[0], ids[path]
        others = [
            known for other, known in ids.items() if known and other != path and other.name.rpartition("-")[0] == topic
        ]
        right = METADATA_TOPIC_ID if path.name == METADATA else right_id(own, others)
        file = path / "partition.metadata"
        if right is None:
            if not any(log.stat().st_size for log in path.glob("*.log")):
                return  # being made when the power went; it holds nothing
            raise DataError(
                f"{file} is missing or damaged, and no other partition of {topic} has its topic id. "
                f"Restore it from a backup, or move {path} away to begin that partition empty"
            )
        if right == own:
            return
        if file.exists():
            self._set_aside(file, "the topic's id is known")
        else:
            self.done.append(f"{path.name}/partition.metadata was missing; the topic's id is known")
        write_synced(file, partition_metadata(right))

    def _set_aside(self, path: Path, why: str) -> None:
        name = str(path.relative_to(self._data))
        self._aside.mkdir(exist_ok=True)
        path.replace(self._aside / name.replace("/", "_"))
        sync_directory(path.parent)
        self.done.append(f"{name} was damaged and set aside; {why}")


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
