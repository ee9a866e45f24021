"""One partition's log in short words, read by one aggregator: readings by seconds in, windows by seconds out."""

from pipeline.aggregator import Aggregator
from tests.kit.readings import SECOND, START, Batches, Row

BEGIN = START // (3600 * SECOND) * 3600 * SECOND
"""A full hour."""
DAY = 24 * 3600


def at(seconds: float, value=1.0, late: float = 0, **more) -> Row:
    """A reading of so many seconds after BEGIN that arrives `late` seconds after it was taken."""
    time = BEGIN + int(seconds * SECOND)
    return Row(value, time, time + int(late * SECOND), time + int(late * SECOND), **more)


class Log:
    """One partition's log, read by one aggregator."""

    def __init__(self, **options):
        self.stage, self.batches = Aggregator(**options), Batches()

    def read(self, *rows: Row) -> list[tuple[str, float, int]]:
        """(interval, start in seconds, count) of the windows that are written."""
        return self.windows(self.stage.step(0, self.batches.of(list(rows)), 0))

    def tick(self, seconds: float) -> list[tuple[str, float, int]]:
        """The wall clock stands there, and has for a while."""
        now = BEGIN + int(seconds * SECOND)
        return self.windows(self.stage.tick(now - 3 * SECOND)) + self.windows(self.stage.tick(now))

    def windows(self, outputs) -> list[tuple[str, float, int]]:
        self.counters, self.documents = outputs.counters, outputs.documents
        seen = [
            (d.fields["interval"], (d.fields["window_start"] - BEGIN) / SECOND, d.fields["count"])
            for d in outputs.documents
        ]
        order = ["1s", "10s", "1min", "1hour"]
        return sorted(seen, key=lambda window: (order.index(window[0]), window[1]))
