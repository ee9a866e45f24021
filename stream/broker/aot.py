"""The AOT cache (JEP 483, 514): loaded and linked classes of a broker, recorded once, so that later starts take half the time.

A convenience: whatever fails here leaves the broker without a cache and says so, never without a broker.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from stream.broker.java import AOT_SINCE, Java
from stream.parts import Jars

CHECK_WITHIN_S = 30


def cache_file(java: Java, jars: Jars, directory: Path) -> Path:
    """The cache for exactly this Java and these jars at this place: a file of another name is never tried."""
    what = hashlib.sha256(f"{java.version}\n{jars.class_path}".encode()).hexdigest()[:12]
    return directory / f"kafka-{what}.aot"


def usable(java: Java, jars: Jars, directory: Path) -> list[str]:
    """JVM options for the cache, none when there is none. A cache that does not fit after all is passed over by the JVM itself."""
    file = cache_file(java, jars, directory)
    return [f"-XX:AOTCache={file}"] if java.feature >= AOT_SINCE and file.exists() else []


def train(java: Java, jars: Jars, directory: Path, say: Callable[[str], None]) -> bool:
    """Run a throw-away broker once and keep what it loaded. False, with the reason said, when there will be no cache."""
    if java.feature < AOT_SINCE:
        say(
            f"No AOT cache: Java {java.feature} cannot make one ({AOT_SINCE} can); the broker starts about 1.5 s slower"
        )
        return False
    file = cache_file(java, jars, directory)
    if file.exists():
        return True
    say("Training the broker's AOT cache (once, about 10 s)")
    beside = file.with_suffix(".new")
    try:
        with tempfile.TemporaryDirectory(prefix="streamforge-aot-") as scratch:
            said = asyncio.run(_record(java, jars, Path(scratch), beside))
        problem = _misfit(java, jars, beside) if beside.exists() else f"Java wrote none: {' / '.join(said[-3:])}"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        beside.unlink(missing_ok=True)
        say(f"No AOT cache: {problem}. The broker starts without it, about 1.5 s slower")
        return False
    for old in directory.glob("kafka-*.aot"):
        old.unlink()
    beside.replace(file)
    say(f"  {file.name}, {file.stat().st_size:,} bytes")
    return True


async def _record(java: Java, jars: Jars, scratch: Path, into: Path) -> list[str]:
    """Start a broker with recording on, let it do a gateway's work for a moment, stop it in order: then the JVM writes the cache.

    What it said on its console.
    """
    from stream.broker.ports import free_pair
    from stream.broker.practice import practise
    from stream.broker.run import Broker
    from stream.broker.settings import Place

    broker = Broker(
        Place(scratch, free_pair()), java, jars, [f"-XX:AOTCacheOutput={into}"], durability="lazy", stop_within_s=120
    )
    await broker.start()
    try:
        await practise(broker.place.bootstrap)
    finally:
        await broker.stop()
    return list(broker.console)


def _misfit(java: Java, jars: Jars, file: Path) -> str | None:
    """Does this Java accept the cache? Its complaint if not."""
    command = [
        str(java.path),
        "-XX:AOTMode=on",
        f"-XX:AOTCache={file}",
        "-XX:+UseSerialGC",
        "-cp",
        jars.class_path,
        "-version",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_WITHIN_S, check=False)
    return None if done.returncode == 0 else f"this Java does not take it ({(done.stdout + done.stderr).strip()[:200]})"
