"""From what is said of a trouble to what a person should do next: each protocol has one list, read from the top. Pure.

A key is words of our own messages; tests bring the real failures, so that no key can lose its message unseen. Not responsible for
the messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from protocols.contract import Cause, NotConnected

Steps = Sequence[tuple[str, str]]
"""Words of a message, and the step, with the settings' names in braces."""


def step(steps: Steps, said: str, values: Mapping[str, object]) -> str | None:
    """The step of the first key that is in what was said; None where only general advice fits."""
    return next((text.format_map(values) for words, text in steps if words in said), None)


@contextmanager
def advising(steps: Steps, values: Mapping[str, object]) -> Iterator[None]:
    """A NotConnected that passes through gets its step, unless whoever raised it knew a better one."""
    try:
        yield
    except NotConnected as gone:
        gone.next_step = gone.next_step or step(steps, str(gone), values)
        raise


def advised(found: Iterable[Cause], steps: Steps, values: Mapping[str, object]) -> list[Cause]:
    """The causes with their steps, what befalls most points before the rest; what befalls none stays in front."""
    by_size = sorted(found, key=lambda cause: -len(cause.points) if cause.points else -math.inf)
    return [
        replace(cause, next_step=step(steps, cause.said, values) or step(steps, cause.example, values))
        for cause in by_size
    ]
