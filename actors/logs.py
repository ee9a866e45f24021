"""Logs as JSON lines on stderr, straight from each process: `{timestamp, level, component, gateway_id, message, ...}`;
a line about an exception has `reason`, its last words, beside the whole traceback in `exception` or `trace`.

Thespian's own way (every record as a message to one logger process) can block an actor and ends with that process; it is not used.
journald, or whoever reads stderr, keeps and rotates.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from actors.traces import last_words

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
        structlog.processors.format_exc_info,
        _add_who,
        _add_reason,
        structlog.processors.EventRenamer("message"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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
        key: event.pop(key)
        for key in ("timestamp", "level", "component", "gateway_id", "message", "reason")
        if key in event
    }
    return first | dict(event)


def _add_who(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in _who.items():
        event.setdefault(key, value)
    return event


def _add_reason(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Beside every traceback its last words: what a person looks for in a line of three thousand characters."""
    trace = event.get("exception") or event.get("trace")
    if trace:
        event.setdefault("reason", last_words(str(trace)))
    return event


def get() -> Any:
    """A logger: `logs.get().info("broker is listening", port=9092)`. The message is a sentence, the rest are fields."""
    return structlog.get_logger()
