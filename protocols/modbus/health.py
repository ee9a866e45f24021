"""What the adapter says of itself: sentences for people, counters for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocols.contract import Health
from protocols.modbus.plan import Signal
from protocols.modbus.schedule import Group, Unit
from protocols.modbus.wire import Tally

_SENTENCES_MAX = 20


def health(
    groups: Iterable[Group],
    units: Mapping[int, Unit],
    slow: Mapping[int, float],
    trouble: Mapping[Signal, str],
    tally: Tally,
    counters: Mapping[str, float],
) -> Health:
    sentences = [*_silent(units, slow), *_slow(slow), *_without_value(groups, trouble)]
    rest = len(sentences) - _SENTENCES_MAX
    if rest > 0:
        sentences[_SENTENCES_MAX:] = [f"and {rest} more"]
    return Health(sentences, {**_counters(tally), **counters})


def _silent(units: Mapping[int, Unit], slow: Mapping[int, float]) -> list[str]:
    return [
        f"unit {unit.id} did not answer the last {unit.patience.silent} requests and is tried rarely"
        for unit in units.values()
        if unit.patience.given_up and unit.id not in slow
    ]


def _slow(slow: Mapping[int, float]) -> list[str]:
    return [
        f"unit {unit} is slow: it answered after {took:.2f} s; right would be response_timeout: {_round_up(took)}ms"
        for unit, took in slow.items()
    ]


def _round_up(seconds: float) -> int:
    """Half as much again, in whole tenths of a second, as milliseconds."""
    return (int(seconds * 15) + 1) * 100


def _without_value(groups: Iterable[Group], trouble: Mapping[Signal, str]) -> list[str]:
    """One sentence for each reason: a refused read takes many points with it."""
    parked = {signal: parked.reason for group in groups for signal, parked in group.known.parked.items()}
    by_reason: dict[str, list[Signal]] = {}
    for signal, reason in {**parked, **trouble}.items():
        by_reason.setdefault(reason, []).append(signal)
    return [f"{_named(signals)}: {reason}" for reason, signals in by_reason.items()]


def _named(signals: list[Signal]) -> str:
    return f"{signals[0]} and {len(signals) - 1} more" if len(signals) > 1 else f"{signals[0]}"


def _counters(tally: Tally) -> dict[str, float]:
    counters: dict[str, float] = {
        "requests_total": tally.requests,
        "timeouts_total": tally.timeouts,
        "late_replies_total": tally.late,
        "doubled_replies_total": tally.doubled,
        "unfit_replies_total": tally.unfit,
    }
    return counters | {f'exceptions_total{{code="{code}"}}': n for code, n in sorted(tally.refused.items())}
