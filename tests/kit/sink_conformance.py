"""How a destination brings itself to the suite for every sink (tests/sinks/test_every_sink.py).

`tests/sinks/peers_<type>.py` has `@asynccontextmanager async def peer(request) -> AsyncIterator[Peer]`: a real destination of the test's own,
empty, running.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import sinks
from sinks.contract import Origin, Sink


@dataclass
class Peer:
    config: dict[str, Any]
    """The sink's JSON configuration, as in the gateway's file, with short times."""
    stop: Callable[[], Awaitable[None]]
    """It vanishes: connections die, new ones are refused."""
    start: Callable[[], Awaitable[None]]
    held: Callable[[], Awaitable[list[tuple[str, str, float]]]]
    """(asset, parameter, value) of every reading it holds, by device time."""
    refuse_parameter: Callable[[str], Awaitable[None]]
    """From now on it refuses readings of this parameter, by a rule of its own."""


def peer_module(kind: str) -> ModuleType:
    return importlib.import_module(f"tests.sinks.peers_{kind}")


def make(config: dict[str, Any]) -> Sink:
    """The sink as actors/sink.py makes it."""
    of, sink = (_find(table[config["type"]]) for table in (sinks.CONFIGS, sinks.SINKS))
    made: Sink = sink(of.model_validate(config), Origin("g1", "stream-1"))
    return made


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
