"""An error of aiokafka 0.14 in asking for a group's offsets, put right where it arises.

While the broker still loads a group, after a start, it answers the whole request with one error and names no partition. aiokafka looks for errors
at the partitions only, finds none, and says that nothing was ever committed. Whoever believes that begins anew: a stage would process the
whole log a second time. The error is raised here; aiokafka then waits and asks again.

Not responsible for errors of single partitions, which aiokafka sees.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

_ask = GroupCoordinator._send_req


@wraps(_ask)
async def _ask_or_refused(coordinator: Any, request: Any) -> Any:
    response = await _ask(coordinator, request)
    code = getattr(response, "error_code", 0) if isinstance(request, OffsetFetchRequest) else 0
    if not code:
        return response
    error = for_code(code)()
    if isinstance(error, NotCoordinatorForGroupError):
        coordinator.coordinator_dead()
    raise error


def whole_answers() -> None:
    """Call before the first consumer asks; may be called again."""
    GroupCoordinator._send_req = _ask_or_refused
