"""Kafka's jars: which ones (kafka.lock), where they lie, whether each is the one that was pinned, and how a missing one is fetched.

Not responsible for Java itself, which comes with a Python package, for the AOT cache (broker/aot.py), nor for starting a broker.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("kafka.lock")
KAFKA_VERSION = "4.3.1"
TRIES = 3
NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""What another try or a better network does not cure."""


class PartsError(Exception):
    """A part of the broker is missing, broken or does not fit; the message says which one and what to do."""


@dataclass(frozen=True)
class Part:
    """One pinned jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def parts_directory() -> Path:
    """Where installed parts lie: `STREAMFORGE_PARTS`, else var/parts in the checkout."""
    named = os.environ.get("STREAMFORGE_PARTS")
    return Path(named) if named else Path(__file__).parents[1] / "var" / "parts"


def read_lock(text: str) -> list[Part]:
    """Lines `group:artifact:version sha256:HEX` to parts; ValueError names a line that is none."""
    parts = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, digest = line.strip().partition(" sha256:")
        words = name.split(":")
        if len(words) != 3 or len(digest) != 64:
            raise ValueError(f"kafka.lock line {number}: {line!r} is not 'group:artifact:version sha256:HEX'")
        parts.append(Part(words[0], words[1], words[2], digest))
    return parts


def pinned() -> list[Part]:
    return read_lock(LOCK_FILE.read_text())


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Jars:
    """The jars of one parts directory. `checked.json` remembers size and mtime of what was hashed, so that a start hashes nothing twice."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "jars"
        self._memory = directory / "checked.json"

    @property
    def class_path(self) -> str:
        """Every pinned jar by name: a file nobody pinned is never loaded, and the order is the one the AOT cache was trained with."""
        return ":".join(str(self.directory / part.file_name) for part in pinned())

    def wrong(self, parts: list[Part]) -> list[Part]:
        """Parts that are missing or not what was pinned; those that are right are remembered."""
        known = self._remembered()
        good = {part.file_name: state for part in parts if (state := self._state_if_right(part, known)) is not None}
        if good != known:
            self._remember(good)
        return [part for part in parts if part.file_name not in good]

    def take(self, part: Part, fetched: Path) -> None:
        """Move a fetched file to its place in one step, after its SHA-256 was found right."""
        found = sha256_of(fetched)
        if found != part.sha256:
            raise PartsError(
                f"{part.file_name}: SHA-256 is {found}, pinned is {part.sha256}; the download is broken or was changed on its way"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        beside = self.directory.parent / f"{part.file_name}.new"
        shutil.copyfile(fetched, beside)
        beside.replace(self.directory / part.file_name)

    def _state_if_right(self, part: Part, known: dict[str, list[int | str]]) -> list[int | str] | None:
        path = self.directory / part.file_name
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        state: list[int | str] = [stat.st_size, stat.st_mtime_ns, part.sha256]
        return state if known.get(part.file_name) == state or sha256_of(path) == part.sha256 else None

    def _remembered(self) -> dict[str, list[int | str]]:
        try:
            given = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return {}
        return given if isinstance(given, dict) else {}

    def _remember(self, good: dict[str, list[int | str]]) -> None:
        """A cache only: where the directory may not be written, the next start hashes again."""
        beside = self._memory.with_suffix(f".{os.getpid()}.new")
        try:
            beside.write_text(json.dumps(good))
            beside.replace(self._memory)
        except OSError:
            beside.unlink(missing_ok=True)


def download(part: Part, into: Path) -> Path:
    """Fetch one jar into the directory `into`; the path of what came."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=into, timeout=30)
    return Path(context.project(part.group, part.artifact).at_version(part.version).artifact().resolve())


def fetch(directory: Path, say: Callable[[str], None], get: Callable[[Part, Path], Path] = download) -> None:
    """Fetch what is missing or wrong, each jar checked before it takes its place; what arrived stays when the rest fails."""
    parts, jars = pinned(), Jars(directory)
    wrong = jars.wrong(parts)
    if not wrong:
        return
    say(f"Fetching Kafka {KAFKA_VERSION}: {len(wrong)} of {len(parts)} jars")
    total = 0
    for part in wrong:
        jars.take(part, _fetch_one(part, directory / "fetching", get))
        size = (jars.directory / part.file_name).stat().st_size
        total += size
        say(f"  jar {parts.index(part) + 1} of {len(parts)}: {part.file_name}, {size:,} bytes")
    shutil.rmtree(directory / "fetching", ignore_errors=True)
    jars.wrong(parts)
    say(f"  {total:,} bytes fetched, every SHA-256 right")


def _mended(failure: str) -> str:
    """What has to be so before another try can help."""
    if "CERTIFICATE_VERIFY_FAILED" in failure:
        return "REQUESTS_CA_BUNDLE names the certificates of your network's proxy, which this Python does not trust"
    return "the network is back"


def _fetch_one(part: Part, into: Path, get: Callable[[Part, Path], Path]) -> Path:
    """Try a few times from nothing: what an interrupted download left would be taken for a whole file."""
    failure = ""
    for _ in range(TRIES):
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        try:
            path = get(part, into)
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in NO_PLACE:
                raise
            failure = f"{type(error).__name__}: {error}"
            continue
        found = sha256_of(path)
        if found == part.sha256:
            return path
        failure = f"what came has SHA-256 {found}, pinned is {part.sha256}"
    raise PartsError(
        f"{part.group}:{part.artifact}:{part.version} could not be fetched in {TRIES} tries ({failure}). "
        f"What arrived is kept: run the same command again when {_mended(failure)}. "
        "Without a network, copy a parts directory from a machine that has one and name it in STREAMFORGE_PARTS"
    )


def ready_jars(directory: Path | None = None) -> Jars:
    """The jars for a start, each known to be the pinned one; PartsError says what is missing."""
    jars = Jars(directory or parts_directory())
    parts = pinned()
    if wrong := jars.wrong(parts):
        names = ", ".join(part.file_name for part in wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise PartsError(
            f"{len(wrong)} of Kafka's {len(parts)} jars are missing or changed in {jars.directory} ({names}); this helps: ./run -- python -m stream.prepare"
        )
    return jars
