"""What a worker raises when it knows what a person should do about it: the sentence goes with the reason to whoever looks.

Protocols and sinks derive their signals from these; the actors read them. Anything else that is raised is a crash and has no advice.
"""

from __future__ import annotations


class Fault(Exception):
    """`next_step`, if given, is what to do, in the imperative and without a full stop; without it people see general advice."""

    def __init__(self, text: str = "", next_step: str | None = None) -> None:
        super().__init__(text)
        self.next_step = next_step


class CannotWork(Fault):
    """Starting again does not help, a person must change something first: the worker is parked at once."""
