"""Two clients with one client id throw each other out for ever: notice it, say it, and step back further each time. Pure."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 5.0
MOST_S: Final = 300.0
STEADY_S: Final = 60.0
"""A connection that stood for so long ends the contest."""
SHORT_S: Final = 10.0
SUSPECTED_AFTER: Final = 3
"""Version 3.1.1 gives no reason: so many short connections in a row, closed by the broker, look like a contest."""
GHOSTS_MOST: Final = 20


class Contest:
    def __init__(self) -> None:
        self.rounds = 0
        self.short = 0
        self.until = 0.0
        self.said: str | None = None
        self.ghosts = 0
        """Attempts of our own that the broker never answered. One that hung reads them when it goes on, and takes each for a newer
        client of this name that throws out the connection that stands."""

    def unanswered(self) -> None:
        """We asked to be let in, and gave up waiting."""
        self.ghosts = min(self.ghosts + 1, GHOSTS_MOST)

    def ended(self, now: float, stood_s: float, sentence: str, *, taken_over: bool, by_broker: bool) -> None:
        """A connection that had been accepted is over. `taken_over`: the broker said so; `by_broker`: it ended it without a word why."""
        if stood_s >= STEADY_S:
            self.rounds = self.short = self.ghosts = 0
            self.said = None
        if self.ghosts and (taken_over or by_broker):
            self.ghosts -= 1
            return
        self.short = self.short + 1 if by_broker and stood_s < SHORT_S else 0
        if taken_over or self.short >= SUSPECTED_AFTER:
            self.rounds += 1
            self.until = now + min(MOST_S, FIRST_S * 2 ** min(self.rounds - 1, 10))
            self.said = sentence

    def wait_s(self, now: float) -> float:
        """How long to stay away."""
        return max(0.0, self.until - now)
