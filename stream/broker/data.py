"""The broker's data directory: formatted once and recognised ever after.

Beside Kafka's own files lies `identity.json`: cluster id, directory id and the Kafka that last wrote here. With it data of another version or
cluster is refused in words, and a damaged meta.properties is written anew. Not responsible for who uses the data (claim.py).
"""

from __future__ import annotations

import base64
import errno
import json
import os
import pwd
import shutil
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stream.broker.settings import NODE_ID, Place
from stream.parts import KAFKA_VERSION

FREE_LEAST = 16 * 2**20
"""With less than this a broker would halt at once; with more it comes up and can free what its retention allows."""


class DataError(Exception):
    """The data directory cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Identity:
    """What the data is. `directory` is None until Kafka has formatted."""

    cluster: str
    directory: str | None
    kafka: str

    def meta_properties(self) -> str:
        """Kafka's meta.properties for this identity."""
        return f"cluster.id={self.cluster}\ndirectory.id={self.directory}\nnode.id={NODE_ID}\nversion=1\n"


def in_words(error: OSError, root: Path) -> DataError | None:
    """What the operating system refused below `root`; None when it is not about a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk of {root} is full, or this user's share of it. Free some space, or name another data_dir"
        )
    file = error.filename if error.filename is not None else root
    if error.errno == errno.EROFS:
        return DataError(
            f"{file} is on a file system that is mounted read-only: often the kernel's answer to a failing disk. See dmesg"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        me = _user(os.geteuid())
        return DataError(
            f"{file} may not be read or written by {me}, the user of this gateway{_whose(file)}. "
            f"Right would be that all of {root} belongs to {me} (chown -R), or another data_dir"
        )
    if error.filename is None or isinstance(error, ConnectionError | TimeoutError):
        return None
    return DataError(f"{file}: {error.strerror}. Right would be a data_dir on a local disk where this user may write")


def _whose(file: object) -> str:
    try:
        return f"; it belongs to {_user(os.stat(str(file)).st_uid)}"  # noqa: PTH116 - whatever was named
    except OSError:
        return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 16 bytes, URL-safe base64 of 22 letters, not beginning with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def read_properties(text: str) -> dict[str, str]:
    """`name=value` lines; comments and anything else are passed over."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def version_of(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(".") if word.isdigit())


def judge(
    meta: dict[str, str] | None, known: Identity | None, *, has_logs: bool, has_metadata: bool, where: Path
) -> str:
    """What to do with the data: `format`, `start`, or `repair` (meta.properties is damaged and the identity is known). Pure.

    `meta` is None when there is no meta.properties; `has_logs` and `has_metadata` say whether there are
    directories of partitions, and the one of the metadata. DataError for data that is not ours.
    """
    _refuse_newer(known, where)
    if meta is None and not has_logs:
        return "format"
    whole = meta if meta is not None and _whole(meta) else None
    if whole is None and not (known and known.directory):
        return _format_again(known, where)
    if not has_metadata:
        raise DataError(
            f"{where}/__cluster_metadata-0 is missing: the broker would not know its topics. Restore it from a backup, "
            "or move the directory away to begin with an empty stream"
        )
    return "repair" if whole is None else _compare(whole, known, where / "meta.properties")


def _refuse_newer(known: Identity | None, where: Path) -> None:
    if known and version_of(known.kafka) > version_of(KAFKA_VERSION):
        raise DataError(
            f"{where} was written by Kafka {known.kafka}; this is {KAFKA_VERSION}, which may not understand it. Right would be {known.kafka} or newer, or another data_dir"
        )


def _format_again(known: Identity | None, where: Path) -> str:
    """Neither file says what the data is: good only where formatting was interrupted, since then no broker has run here."""
    if known:
        return "format"
    raise DataError(
        f"{where / 'meta.properties'} is missing or damaged, and there is no identity.json to write it from. "
        f"Restore one of them from a backup; the readings are still in {where}"
    )


def _compare(meta: dict[str, str], known: Identity | None, file: Path) -> str:
    """A whole meta.properties with what we know and are: one of the two ids may be damaged, both say that it is another's."""
    if meta["version"] != "1":
        raise DataError(
            f"{file} has version {meta['version']}; Kafka {KAFKA_VERSION} knows 1. Right would be the Kafka that wrote it, or another data_dir"
        )
    ours = meta["node.id"] == str(NODE_ID)
    if known and known.directory:
        same = (meta["cluster.id"] == known.cluster, meta["directory.id"] == known.directory)
        if not any(same):
            raise DataError(
                f"{file} belongs to cluster {meta['cluster.id']}, but identity.json beside it says {known.cluster}: "
                "data of another gateway was put here. Right would be its own data_dir"
            )
        return "start" if all(same) and ours else "repair"
    if not ours:
        raise DataError(
            f"{file} belongs to node {meta['node.id']}; a gateway's broker is node {NODE_ID}. "
            "Right would be this gateway's own data_dir"
        )
    return "start"


def _whole(meta: dict[str, str]) -> bool:
    """Are all four there, and the numbers numbers?"""
    numbers = meta.get("node.id", "").isdigit() and meta.get("version", "").isdigit()
    return bool(numbers and meta.get("cluster.id") and meta.get("directory.id"))


class Data:
    """The files of one place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._identity = place.root / "identity.json"

    def examine(self) -> str:
        """As `judge`, from the files. Makes the directories. DataError also when the disk is full."""
        for directory in (self.place.root, self.place.data, self.place.logs):
            directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.place.root).free
        if free < FREE_LEAST:
            raise DataError(
                f"The disk of {self.place.root} is full: {free // 2**20} MiB free, {FREE_LEAST // 2**20} MiB are the least. Free some space, or name another data_dir"
            )
        meta = self.place.data / "meta.properties"
        given = read_properties(meta.read_text(errors="replace")) if meta.exists() else None
        logs = [path.name for path in self.place.data.iterdir() if path.is_dir()]
        has_metadata = "__cluster_metadata-0" in logs
        return judge(given, self.identity(), has_logs=bool(logs), has_metadata=has_metadata, where=self.place.data)

    def identity(self) -> Identity | None:
        """What identity.json says; None when there is none or it cannot be read."""
        try:
            given = json.loads(self._identity.read_text())
            return Identity(given["cluster"], given["directory"], given["kafka"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def claim_identity(self) -> Identity:
        """The identity to format with: an earlier one when formatting was interrupted, else a new one, on the disk before Kafka writes."""
        known = self.identity() or Identity(new_cluster_id(), None, KAFKA_VERSION)
        known = replace(known, directory=None)
        self._keep(known)
        return known

    def remember(self) -> Identity:
        """Write down what Kafka's meta.properties says, and that this Kafka wrote here."""
        meta = read_properties((self.place.data / "meta.properties").read_text())
        identity = Identity(meta["cluster.id"], meta["directory.id"], KAFKA_VERSION)
        if identity != self.identity():
            self._keep(identity)
        return identity

    def repair(self) -> None:
        """Write meta.properties anew from the identity."""
        identity = self.identity()
        assert identity is not None
        write_synced(self.place.data / "meta.properties", identity.meta_properties())

    def discard_half_format(self) -> None:
        """What an interrupted format left: Kafka refuses to format over it. Only called when `judge` said `format`: there is nothing of worth."""
        shutil.rmtree(self.place.data)
        self.place.data.mkdir()

    def used(self) -> bool:
        """Has a broker run on this data? Written down when it answered for the first time."""
        return (self.place.root / "used").exists()

    def mark_used(self) -> None:
        if not self.used():
            write_synced(self.place.root / "used", "")

    def _keep(self, identity: Identity) -> None:
        write_synced(self._identity, json.dumps(asdict(identity)) + "\n")


def write_synced(path: Path, text: str) -> None:
    """Replace a file in one step that a power cut cannot tear."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
