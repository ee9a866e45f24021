"""What a session needs beside its data: a heartbeat, new keys for its channel, and now and then another look for missing nodes."""

from __future__ import annotations

import time
from asyncio import sleep
from dataclasses import dataclass, field

from asyncua import ua

from protocols.contract import Reading
from protocols.opcua import binary, monitored
from protocols.opcua.config import OpcUaConfig
from protocols.opcua.inbox import Inbox
from protocols.opcua.items import Item
from protocols.opcua.link import Link, NoAnswer
from protocols.opcua.resolve import read_namespaces, resolve
from protocols.opcua.subscription import Subscription

_HEARTBEAT_S = 10.0
_STATES = ("Running", "Failed", "NoConfiguration", "Suspended", "Shutdown", "Test", "CommunicationFault", "Unknown")


@dataclass(slots=True)
class Caretaker:
    link: Link
    config: OpcUaConfig
    items: list[Item]
    inbox: Inbox
    subscription: Subscription | None
    hurries: bool = False
    """What is missing now may be there in a moment: the first look is at once."""
    trouble: str | None = None
    """What the server says of itself, or that it did not answer."""
    _unanswered: int = 0
    _due: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until the connection is over. Raises NotConnected."""
        every = {
            "heartbeat": min(_HEARTBEAT_S, self.link.session_timeout / 3),
            "renew": self.link.renew_after,
            "retry": self.config.retry_nodes,
        }
        work = {"heartbeat": self._heartbeat, "renew": self.link.renew, "retry": self._retry}
        self._due = {name: time.monotonic() + wait for name, wait in every.items()}
        if self.hurries:
            self._due["retry"] = 0.0
        while True:
            name = min(self._due, key=self._due.__getitem__)
            await sleep(max(0.0, self._due[name] - time.monotonic()))
            await work[name]()
            self._due[name] = time.monotonic() + every[name]

    async def _heartbeat(self) -> None:
        """Half-open connections show here, whatever the points are doing."""
        state = ua.ReadValueId(
            NodeId=ua.NodeId(ua.ObjectIds.Server_ServerStatus_State), AttributeId=ua.AttributeIds.Value
        )
        request = ua.ReadRequest()
        request.Parameters.NodesToRead = [state]
        try:
            (value,) = binary.read_response(await self.link.call(request))
        except NoAnswer as silent:
            self._unanswered += 1
            if self._unanswered > 1:
                raise
            self.trouble = str(silent)
            return
        self._unanswered, self.trouble = 0, _said(value.value)

    async def _retry(self) -> None:
        """Look again for every node that the server did not know: models are loaded late, and nodes come back."""
        if self.subscription is not None:
            await self._let_go(self.subscription)
        missing = [item for item in self.items if item.node_id is None]
        if not missing:
            return
        await read_namespaces(self.link)
        self.inbox.put(failed(await resolve(self.link, missing)))
        found = [i for i in missing if i.node_id is not None and i.config.mode == "subscribe"]
        if self.subscription is not None and found:
            await self.subscription.add(found)

    async def _let_go(self, subscription: Subscription) -> None:
        """Servers do not tie the item of a deleted node to the node that takes its place, so it is made anew."""
        gone = [i for i in subscription.vanished if i.monitored_id is not None]
        subscription.vanished.clear()
        if gone:
            await monitored.stop(
                self.link, subscription.id, [i.monitored_id for i in gone if i.monitored_id is not None]
            )
        for item in gone:
            item.node_id = item.monitored_id = None


def failed(found: list[tuple[Item, str, str]]) -> list[Reading]:
    """One BAD reading for each node that could not be found."""
    return [bad for item, why, more in found if (bad := item.fail(why, more)) is not None]


def _said(state: object) -> str | None:
    if not isinstance(state, int) or state == 0:
        return None
    name = _STATES[state] if state < len(_STATES) else str(state)
    return f"the server says of itself that it is in state {name}, not Running"
