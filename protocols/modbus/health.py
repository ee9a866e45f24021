"""What the adapter says of itself: one sentence for each cause, however many points it befalls; counters for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from protocols.advice import advised
from protocols.contract import Cause, Health
from protocols.modbus.addresses import Table
from protocols.modbus.messages import Why
from protocols.modbus.plan import TABLES, Signal
from protocols.modbus.schedule import Group, Unit
from protocols.modbus.steps import STEPS
from protocols.modbus.wire import Tally

_UNITS_MAX = 5


def health(
    groups: Sequence[Group],
    slow: Mapping[int, float],
    trouble: Mapping[Signal, Why],
    tally: Tally,
    counters: Mapping[str, float],
    named: Mapping[str, object],
) -> Health:
    """`named`: what the next steps may name."""
    parked = {signal: parked.why for group in groups for signal, parked in group.known.parked.items()}
    whys = {**parked, **trouble}
    found = [*_silent(groups, slow, whys), *_slow(slow), *_without_value(whys)]
    return Health(advised(found, STEPS, named), {**_counters(tally), **counters})


def _silent(groups: Sequence[Group], slow: Mapping[int, float], whys: Mapping[Signal, Why]) -> Iterator[Cause]:
    """Units that are given up. Of points for which something was answered, as by a gateway for the unit behind it, that says more."""
    dead: dict[int, Unit] = {}
    names = []
    for group in groups:
        unit = group.unit
        mute = [str(signal) for signal in group.signals if signal not in whys]
        if unit.patience.given_up and unit.id not in slow and mute:
            dead[unit.id] = unit
            names += mute
    if not dead:
        return
    least = min(unit.patience.silent for unit in dead.values())
    verb = "is" if len(dead) == 1 else "are"
    all_of_them = all(group.unit.patience.given_up for group in groups)
    alone = (
        "; no other is read here, so perhaps it is no Modbus device that takes the connections" if all_of_them else ""
    )
    yield Cause(f"{_units(dead)} did not answer the last {least} requests and {verb} tried rarely{alone}", tuple(names))


def _slow(slow: Mapping[int, float]) -> Iterator[Cause]:
    if not slow:
        return
    took = max(slow.values())
    verb, who = ("is", "it") if len(slow) == 1 else ("are", "the slowest")
    said = f"{_units(slow)} {verb} slow: {who} answered after {took:.2f} s"
    yield Cause(f"{said}; right would be response_timeout: {_round_up(took)}ms")


def _round_up(seconds: float) -> int:
    """Half as much again, in whole tenths of a second, as milliseconds."""
    return (int(seconds * 15) + 1) * 100


def _without_value(whys: Mapping[Signal, Why]) -> Iterator[Cause]:
    """By table and what was answered."""
    alike: dict[tuple[Table, str], list[Signal]] = {}
    for signal, why in whys.items():
        alike.setdefault((signal.table, why.cause), []).append(signal)
    for (table, cause), signals in alike.items():
        who = _units({signal.unit for signal in signals})
        together = f"{who}, {TABLES[table]} (function {table.value}): {cause}"
        said = together if len(signals) > 1 else whys[signals[0]].said
        yield Cause(said, tuple(map(str, signals)))


def _units(ids: Iterable[int]) -> str:
    """`unit 2`, `units 2, 3 and 5`."""
    known = sorted(ids)
    if len(known) == 1:
        return f"unit {known[0]}"
    shown = [str(one) for one in known[:_UNITS_MAX]]
    more = len(known) - len(shown)
    last = f"{more} more" if more else shown.pop()
    return f"units {', '.join(shown)} and {last}"


def _counters(tally: Tally) -> dict[str, float]:
    counters: dict[str, float] = {
        "requests_total": tally.requests,
        "timeouts_total": tally.timeouts,
        "late_replies_total": tally.late,
        "doubled_replies_total": tally.doubled,
        "unfit_replies_total": tally.unfit,
    }
    return counters | {f'exceptions_total{{code="{code}"}}': n for code, n in sorted(tally.refused.items())}
