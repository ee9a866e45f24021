"""`python -m stream.prepare` makes everything a broker needs ready: the jars (parts.py), a Java that fits and its AOT cache (broker/).

It says how far it is on standard error. Not responsible for starting a broker.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.broker import aot, java
from stream.parts import PartsError, fetch, parts_directory, ready_jars


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One process at a time prepares a parts directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make everything ready; 0 when it is."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    directory = parts_directory()
    try:
        with alone(directory):
            fetch(directory, say)
            aot.train(java.find(None), ready_jars(directory), directory, say)
    except PartsError as error:
        say(f"Kafka's parts are not ready: {error}")
        return 1
    except OSError as error:
        place = error.filename or directory
        say(
            f"Kafka's parts are not ready: {error.strerror or error} ({place}). They need 250 MB that can be written; "
            "make room there, or name another folder in STREAMFORGE_PARTS (and in TMPDIR), and run the same command again"
        )
        return 1
    except KeyboardInterrupt:
        say("Interrupted; what arrived is kept: the same command goes on from there")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
