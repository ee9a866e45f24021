"""Servers with limits: what they take in one request, grant, allow and refuse. Real asyncua server, on a short leash."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession
from asyncua.server.subscription_service import SubscriptionService

from protocols.contract import NotConnected
from schemas.records import Quality
from tests.kit.opcua import URI, InThread, OpcUaServer, adapter, point, soon

MANY = {f"p{n}": float(n) for n in range(12)}
TEXT = "x" * 3000


@pytest.fixture(scope="module")
def plant():
    return InThread(OpcUaServer(MANY | {f"text{n}": TEXT for n in range(12)}))


async def lost(plc, deadline_s=30):
    async with asyncio.timeout(deadline_s):
        with pytest.raises(NotConnected) as end:
            while True:
                await plc.adapter.read()
    return str(end.value)


def refuses_above(most, code):
    """A service that takes no more operations at once."""

    def wrap(service, count):
        async def limited(self, params, *rest):
            if count(params) > most:
                raise ServiceError(code)
            return await service(self, params, *rest)

        return limited

    return wrap


TOO_MUCH = [
    ua.StatusCodes.BadTooManyOperations, ua.StatusCodes.BadResponseTooLarge, ua.StatusCodes.BadEncodingLimitsExceeded,
    ua.StatusCodes.BadRequestTooLarge,
]  # fmt: skip


@pytest.mark.parametrize("code", TOO_MUCH)
async def test_what_is_too_much_at_once_is_asked_for_in_smaller_parts(plant, monkeypatch, caplog, code):
    caplog.set_level(logging.INFO)
    limited = refuses_above(3, code)
    reading = limited(
        InternalSession.read, lambda p: len(p.NodesToRead) if p.NodesToRead[0].NodeId.NamespaceIndex else 0
    )
    monkeypatch.setattr(InternalSession, "read", reading)
    watching = limited(SubscriptionService.create_monitored_items, lambda p: len(p.ItemsToCreate))
    monkeypatch.setattr(SubscriptionService, "create_monitored_items", watching)
    translating = limited(InternalSession.translate_browsepaths_to_nodeids, len)
    monkeypatch.setattr(InternalSession, "translate_browsepaths_to_nodeids", translating)
    points = [point(f"read_{k}", k, mode="poll") for k in MANY] + [point(k, k) for k in MANY]
    points += [{"parameter": f"path_{k}", "path": f"/Objects/nsu={URI};Press4/{k}"} for k in MANY]
    async with adapter(plant, *points) as plc:
        found = await plc.first_of_each(*(f"{kind}{k}" for kind in ("", "read_", "path_") for k in MANY))
        limits = plc.adapter._link.limits
        assert max(limits.read, limits.items, limits.paths) <= 3
    assert {p: r.value for p, r in found.items() if "_" not in p} == MANY
    assert "half as many from now on" in caplog.text


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_answers_in_many_chunks(mode):
    server = OpcUaServer({f"text{n}": TEXT + str(n) for n in range(12)})
    on = InThread(server)
    limits = TransportLimits(max_recv_buffer=8192, max_send_buffer=8192, max_chunk_count=100, max_message_size=200_000)
    server.server.bserver.limits = limits
    async with adapter(on, *(point(f"text{n}", f"text{n}", mode=mode) for n in range(12))) as plc:
        found = await plc.first_of_each(*(f"text{n}" for n in range(12)))
        assert {r.value for r in found.values()} == {TEXT + str(n) for n in range(12)}
    await on(server.stop())


async def test_a_read_that_is_refused_outright_ends_the_connection_with_the_servers_words(plant, monkeypatch):
    async def refuse(self, params):
        if params.NodesToRead[0].NodeId.NamespaceIndex:
            raise ServiceError(ua.StatusCodes.BadOutOfMemory)
        return await given(self, params)

    given = InternalSession.read
    async with adapter(plant, point("temp", "Temp", mode="poll", every="50ms")) as plc:
        await plc.next("temp")
        monkeypatch.setattr(InternalSession, "read", refuse)
        assert "Read is refused: BadOutOfMemory" in await lost(plc)
        assert plc.health().counters["unanswered_reads"] == 2


async def test_no_subscription_left_is_said_with_what_to_do(plant, monkeypatch):
    monkeypatch.setattr(plant.server.server.iserver, "max_subscriptions", 0)
    async with adapter(plant) as plc:
        words = await lost(plc)
    assert "BadTooManySubscriptions" in words
    assert "Right would be: the server has no subscription left: close other clients" in words


async def test_what_the_server_grants_instead_is_logged(plant, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    create, watch = SubscriptionService.create_subscription, SubscriptionService.create_monitored_items

    async def slower(self, params, *rest, **more):
        params.RequestedPublishingInterval = 250
        params.RequestedMaxKeepAliveCount = 7
        return await create(self, params, *rest, **more)

    async def coarser(self, params):
        results = await watch(self, params)
        for result in results:
            result.RevisedSamplingInterval, result.RevisedQueueSize = 1000.0, 1
        return results

    monkeypatch.setattr(SubscriptionService, "create_subscription", slower)
    monkeypatch.setattr(SubscriptionService, "create_monitored_items", coarser)
    async with adapter(plant, point("temp", "Temp", sampling_interval="10ms")) as plc:
        await plc.next("temp")
    for words in (
        "publishes every 0.25 s, asked for 0.1 s",
        "a sign of life every 7 intervals, asked for 5",
        "samples every 1 s, asked for 0.01 s (1 points)",
        "keeps 1 values between notifications, asked for 10 (1 points)",
    ):
        assert words in caplog.text


async def test_a_session_the_server_keeps_shorter_than_asked_is_kept_alive(plant, monkeypatch):
    monkeypatch.setattr(plant.server.server.iserver, "max_session_timeout_ms", 1800)
    async with adapter(plant, point("temp", "Temp", mode="poll", every="1h")) as plc:
        await plc.next("temp")
        assert plc.adapter._link.session_timeout == 1.8
        before = plc.adapter._caretaker._due["heartbeat"]
        await soon(lambda: plc.adapter._caretaker._due["heartbeat"] > before + 1)
        assert plc.health().degraded == []


async def test_a_node_that_may_not_be_read_is_bad_and_blocks_nobody(plant, monkeypatch):
    read, watch = InternalSession.read, SubscriptionService.create_monitored_items
    secret = plant.server.node("p0")

    async def hidden(self, params):
        results = await read(self, params)
        denied = ua.DataValue(ua.Variant(), ua.StatusCode(ua.StatusCodes.BadUserAccessDenied))
        return [denied if w.NodeId == secret else r for w, r in zip(params.NodesToRead, results, strict=True)]

    async def not_watched(self, params):
        results = await watch(self, params)
        for wanted, result in zip(params.ItemsToCreate, results, strict=True):
            if wanted.ItemToMonitor.NodeId == secret:
                result.StatusCode = ua.StatusCode(ua.StatusCodes.BadNotReadable)
        return results

    monkeypatch.setattr(InternalSession, "read", hidden)
    monkeypatch.setattr(SubscriptionService, "create_monitored_items", not_watched)
    points = [point("no", "p0"), point("nor", "p0", mode="poll", every="50ms"), point("yes", "p1")]
    async with adapter(plant, *points) as plc:
        found = {}
        while len(found) < 3:
            (*_, reading) = await plc.until(lambda r: r.point.parameter not in found)
            found[reading.point.parameter] = reading
        assert found["no"].reason.endswith(
            "BadNotReadable: The access level does not allow reading or subscribing to the Node"
        )
        assert found["nor"].reason.startswith("BadUserAccessDenied")
        assert (found["no"].status, found["nor"].status, found["yes"].value) == (Quality.BAD, Quality.BAD, 1.0)
        assert any(s.startswith("press_4/nor: BadUserAccessDenied") for s in plc.health().degraded)


@pytest.mark.parametrize("hours", [-30, 30])
async def test_a_server_whose_clock_is_off_by_hours_is_read_with_its_own_times(plant, hours):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    async with adapter(plant) as plc:
        await plc.next("temp")
        await plant(plant.server.write("Temp", 77.0 + hours, at=at))
        (*_, reading) = await plc.until(lambda r: r.value == 77.0 + hours)
    assert reading.device_time == int(at.timestamp()) * 1_000_000
    assert reading.status is Quality.GOOD
