"""The plant's physics: what each signal of the demo is at an instant. Pure functions of seconds."""

from __future__ import annotations

import math

PRESSES = 4
PRESS_FLOATS = ("oil_temperature", "pressure", "ram_position", "motor_current", "vibration", "die_temperature")
OVENS = 4
OVEN_SIGNALS = ("zone_temperature", "gas_flow", "belt_speed")
PUMPS = 10


def wave(t: float, seed: int, middle: float, swing: float) -> float:
    """A slow swing with a faster ripple; `seed` tells signals apart."""
    slow = math.sin(t / (17 + seed % 7) + seed)
    ripple = math.sin(t * (1.3 + seed % 5 * 0.31) + 2 * seed)
    return middle + swing * (0.8 * slow + 0.2 * ripple)


def press_floats(press: int, t: float) -> list[float]:
    """The six analogue values of one press, in the order of PRESS_FLOATS."""
    seed = 10 * press
    stroke = (t * (0.4 + 0.05 * press)) % 1.0
    return [
        wave(t, seed, 62, 9),
        180 + 40 * math.sin(math.pi * stroke) + 2 * math.sin(7 * t),
        400 * abs(math.sin(math.pi * stroke)),
        wave(t, seed + 3, 44, 12),
        abs(wave(t, seed + 4, 2.2, 1.1)),
        spoiled(press, t, wave(t, seed + 5, 145, 20)),
    ]


def spoiled(press: int, t: float, value: float) -> float:
    """Press 4 misbehaves: for two seconds out of each thirty its die sensor reads far beyond the plausible."""
    return 9999.0 if press == PRESSES and t % 30 < 2 else value


def door_open(press: int, t: float) -> bool:
    return int(t / (11 + press)) % 4 == 0


def strokes(press: int, t: float) -> int:
    """Counted since the plant was built."""
    return 1_250_000 + int(t * (0.4 + 0.05 * press))


def oven(number: int, t: float) -> list[float]:
    """The values of one oven in the order of OVEN_SIGNALS."""
    return [
        wave(t, 100 + number, 480 + 30 * number, 14),
        abs(wave(t, 200 + number, 22, 6)),
        wave(t, 300 + number, 1.6, 0.2),
    ]


def pump(number: int, t: float) -> dict[str, float | bool | str]:
    """What one pump publishes."""
    running = int(t / 20 + number) % 7 != 0
    return {
        "flow": round(abs(wave(t, 400 + number, 35, 8)) if running else 0.0, 3),
        "head": round(wave(t, 500 + number, 4.1, 0.6), 4),
        "running": running,
        "state": "RUNNING" if running else "STANDBY",
    }
