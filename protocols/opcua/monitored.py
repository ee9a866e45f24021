"""Monitored items: what is asked of the server for each point, and what it made of it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from asyncua import ua

from protocols.contract import Reading
from protocols.opcua import quality
from protocols.opcua.config import OpcUaPoint
from protocols.opcua.items import Item
from protocols.opcua.link import Link

_NO_DEADBAND = frozenset({0x80440000, 0x80450000})
"""BadMonitoredItemFilterUnsupported, BadFilterNotAllowed."""
_log = logging.getLogger(__name__)
_AS_PUBLISHED = -1.0
"""Sample as often as is published."""


async def monitor(link: Link, subscription: int, items: Iterable[Item]) -> list[Reading]:
    """Have the server watch these. Returned is one BAD reading for each it refused; those have no `monitored_id`.

    An absolute deadband the server cannot do is done here instead. Raises NotConnected.
    """
    bad: list[Reading] = []
    asked = link.in_parts("items", list(items), partial(_create, link, subscription))
    revised: Counter[str] = Counter()
    async for some, results in asked:
        plain = []
        for item, result in zip(some, results, strict=True):
            _compare(item, result, revised)
            if result.StatusCode.value in _NO_DEADBAND and item.config.deadband and not item.deadband_here:
                item.deadband_here = True
                item.counters["deadbands_applied_here"] += 1
                plain.append(item)
            else:
                bad += _taken(item, result)
        if plain:
            for item, result in zip(plain, await _create(link, subscription, plain), strict=True):
                bad += _taken(item, result)
    for what, points in revised.items():
        _log.info("%s: %s (%d points)", link.config.endpoint, what, points)
    return bad


def _compare(item: Item, result: Any, revised: Counter[str]) -> None:
    """Count what the server grants in place of what was asked for."""
    if result.StatusCode.is_bad():
        return
    asked, granted = item.config.sampling_interval, result.RevisedSamplingInterval / 1000
    if asked is not None and not math.isclose(asked, granted, abs_tol=1e-6):
        revised[f"samples every {granted:g} s, asked for {asked:g} s"] += 1
    if result.RevisedQueueSize != item.config.queue_size:
        revised[
            f"keeps {result.RevisedQueueSize} values between notifications, asked for {item.config.queue_size}"
        ] += 1


async def stop(link: Link, subscription: int, monitored_ids: list[int]) -> None:
    """No longer watch these; what the server does not know any more is fine. Raises NotConnected."""

    async def delete(some: list[int]) -> None:
        parameters = ua.DeleteMonitoredItemsParameters(SubscriptionId=subscription, MonitoredItemIds=some)
        await link.ask(link.session.delete_monitored_items(parameters), "DeleteMonitoredItems")

    with suppress(ua.UaStatusCodeError):
        async for _ in link.in_parts("items", monitored_ids, delete):
            pass


async def _create(link: Link, subscription: int, items: list[Item]) -> list[Any]:
    parameters = ua.CreateMonitoredItemsParameters(
        SubscriptionId=subscription,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ItemsToCreate=[wanted(item) for item in items],
    )
    results: list[Any] = await link.ask(link.session.create_monitored_items(parameters), "CreateMonitoredItems")
    return results


def _taken(item: Item, result: Any) -> list[Reading]:
    if not result.StatusCode.is_bad():
        item.monitored_id, item.problem, item.cause = result.MonitoredItemId, None, None
        return []
    hint = "; deadband_percent needs a node with a range (EURange)" if item.config.deadband_percent else ""
    bad = item.fail(f"{quality.words(result.StatusCode.value)}{hint}")
    return [bad] if bad else []


def wanted(item: Item) -> Any:
    """The MonitoredItemCreateRequest of one point."""
    point = item.config
    sampling = _AS_PUBLISHED if point.sampling_interval is None else point.sampling_interval * 1000
    parameters = ua.MonitoringParameters(
        ClientHandle=item.handle,
        SamplingInterval=sampling,
        Filter=_filter(point, item.deadband_here),
        QueueSize=point.queue_size,
        DiscardOldest=point.discard_oldest,
    )
    return ua.MonitoredItemCreateRequest(value_of(item), ua.MonitoringMode.Reporting, parameters)


def value_of(item: Item) -> Any:
    """The ReadValueId of one point."""
    return ua.ReadValueId(NodeId=item.node_id, AttributeId=ua.AttributeIds.Value, IndexRange=item.config.element)


def _filter(point: OpcUaPoint, without_deadband: bool) -> Any:
    """None where the server's default (status or value) is what is wanted: some servers refuse any filter."""
    absolute = 0.0 if without_deadband else point.deadband or 0.0
    percent = point.deadband_percent or 0.0
    if point.trigger == "value" and not absolute and not percent:
        return None
    stamps = point.trigger == "timestamp"
    trigger = ua.DataChangeTrigger.StatusValueTimestamp if stamps else ua.DataChangeTrigger.StatusValue
    kind = ua.DeadbandType.Percent if percent else ua.DeadbandType.Absolute if absolute else ua.DeadbandType.None_
    return ua.DataChangeFilter(Trigger=trigger, DeadbandType=kind, DeadbandValue=percent or absolute)
