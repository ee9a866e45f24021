"""Logs as JSON lines on stderr, straight from each process: `{timestamp, level, component, gateway_id, message, ...}`.

Thespian's own way (every record as a message to one logger process) can block an actor and ends with that process; it is not used.
journald, or whoever reads stderr, keeps and rotates.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_who: dict[str, str] = {"component": "daemon"}


def identify(component: str, gateway_id: str | None = None) -> None:
    """Name this process in each of its lines: the path in the tree, as `data_path/adapters/press_4`."""
    _who["component"] = component
    if gateway_id:
        _who["gateway_id"] = gateway_id


def configure(level: int = logging.INFO) -> None:
    """For this process and all it forks: structlog, and the standard library's loggers through the same renderer."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _add_who,
        structlog.processors.EventRenamer("message"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, *shared,
                    structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )  # fmt: skip
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _in_order,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _in_order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    first = {
        key: event.pop(key) for key in ("timestamp", "level", "component", "gateway_id", "message") if key in event
    }
    return first | dict(event)


def _add_who(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in _who.items():
        event.setdefault(key, value)
    return event


def get() -> Any:
    """A logger: `logs.get().info("broker is listening", port=9092)`. The message is a sentence, the rest are fields."""
    return structlog.get_logger()
