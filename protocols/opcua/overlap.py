"""What two subscriptions sampled while one took over from the other, told once. Pure, with state; asking the server is recovery.py's."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.opcua.binary import DataValue

Sample = tuple[int, int, int, str]


@dataclass(slots=True)
class _Told:
    """Of one point."""

    samples: set[Sample] = field(default_factory=set)
    newest: int = 0
    is_first: bool = True
    """The next subscription has brought nothing yet."""


class Overlap:
    """By the handles of the points."""

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}

    def note(self, handle: int, value: DataValue) -> None:
        """The subscription before brought this."""
        if value.source_time is not None:
            told = self._told.setdefault(handle, _Told())
            told.samples.add(_sample(value, value.source_time))
            told.newest = max(told.newest, value.source_time)

    def repeats(self, handle: int, value: DataValue) -> bool:
        """Whether the next one brings what is told already.

        Its first value is what held when it was made, perhaps older than what both sampled since; as news it would be a step back.
        The first newer one ends the comparing, and only the same sample is a repeat, so that a clock set back hides nothing.
        """
        told = self._told.get(handle)
        if told is None or value.source_time is None:
            return False
        is_first, told.is_first = told.is_first, False
        if value.source_time > told.newest:
            del self._told[handle]
            return False
        is_stale = is_first and value.source_time < told.newest
        return is_stale or _sample(value, value.source_time) in told.samples


def _sample(value: DataValue, at: int) -> Sample:
    return at, value.status, value.kind, str(value.value)
