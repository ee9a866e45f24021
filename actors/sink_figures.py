"""The figure of one sink: how long a reading took from its arrival (the gateway's clock) until the destination had it.

Only readings that arrived since the gateway was started: what an earlier run left waiting says how long the gateway was away, and is
shown as what waits. A sink that was killed, or a destination that was away, does count.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
import numpy.typing as npt

from actors.context import Context

BOUNDS_MS = (
    25, 50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 800, 1_000,
    1_500, 2_000, 3_000, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000,
)  # fmt: skip
_NAMES = [f'latency_ms_total{{upto="{bound}"}}' for bound in (*BOUNDS_MS, "+Inf")]
GATEWAY_STARTED_US = time.time_ns() // 1000
"""The daemon loads this module before it forks the workers, so that this is its start and not that of a sink that died meanwhile."""
WINDOW_S = 10.0
SAMPLES_MOST = 500
"""Of each batch; more would say the same."""


class Latency:
    """p50 and p99 over the last seconds as gauges, and counters of readings by latency: each reading in the first bucket it fits."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._recent: deque[tuple[float, npt.NDArray[np.float64]]] = deque()

    def stored(self, gateway_times: npt.NDArray[np.int64], now_us: int) -> None:
        """These readings (microseconds since 1970) are in the destination now."""
        gateway_times = gateway_times[gateway_times >= GATEWAY_STARTED_US]
        if not len(gateway_times):
            return
        ms = np.maximum(now_us - gateway_times, 0) / 1000
        found = np.bincount(np.searchsorted(BOUNDS_MS, ms), minlength=len(_NAMES))
        for at in np.flatnonzero(found).tolist():
            self._context.count(_NAMES[at], int(found[at]))
        step = max(1, len(ms) // SAMPLES_MOST)
        self._recent.append((time.monotonic(), ms[::step]))

    def publish(self) -> None:
        """Set the gauges from what was stored within the window; without any they keep their last value."""
        while len(self._recent) > 1 and time.monotonic() - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        if self._recent:
            p50, p99 = np.percentile(np.concatenate([ms for _, ms in self._recent]), [50, 99])
            self._context.gauge("latency_p50_ms", round(float(p50), 1))
            self._context.gauge("latency_p99_ms", round(float(p99), 1))
