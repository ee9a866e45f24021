"""CPU and memory of many processes between two instants, by name; and of the whole box."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil


@dataclass
class Usage:
    """Cores used by each named group of processes, and the box's share in percent."""

    cores: dict[str, float] = field(default_factory=dict)
    box_percent: float = 0.0
    pss_mb: dict[str, float] = field(default_factory=dict)


class UsageMeter:
    """`start` with the pids of each group, `stop` for what they used since."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self._groups = groups
        self._began = time.monotonic()
        self._before = {name: sum(map(_cpu_s, pids)) for name, pids in groups.items()}
        psutil.cpu_percent(None)

    def stop(self) -> Usage:
        took = time.monotonic() - self._began
        usage = Usage(box_percent=psutil.cpu_percent(None))
        for name, pids in self._groups.items():
            usage.cores[name] = round((sum(map(_cpu_s, pids)) - self._before[name]) / took, 3)
            usage.pss_mb[name] = round(sum(map(pss_mb, pids)), 1)
        return usage


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def pss_mb(pid: int) -> float:
    """Proportional set size: shared pages count once over all processes that share them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0.0


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []
