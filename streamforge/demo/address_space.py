"""An OPC UA server with the heart of the standard address space: 1,900 of its 6,200 nodes, enough for every client that browses and reads.

asyncua fills in all of them, with 50 MB and seconds of work that a demo has no use for. The nodes come from asyncua's own generated code.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from pathlib import Path

from asyncua import ua
from asyncua.server.internal_server import InternalServer

GENERATED = "asyncua.server.standard_address_space.standard_address_space_services"
HEART = 12_000
"""Numeric ids below are types, folders and the server object of OPC UA 1.02; later parts (devices, PubSub, files, roles) lie above."""
SERVER = ("Server_", "OPCUANamespaceMetadata")
"""And what belongs to the server object itself, wherever it lies."""
_NAMES = {number: name for name, number in vars(ua.ObjectIds).items() if isinstance(number, int)}


class SmallServer(InternalServer):  # type: ignore[misc]  # untyped
    """For asyncua's `Server(iserver=...)`."""

    async def load_standard_address_space(self, _shelf_file: Path | None = None) -> None:
        """Add the nodes, parents before children, and then the references among them."""
        from asyncua.server.standard_address_space import standard_address_space_services as generated

        chosen = _Chosen()
        generated.create_standard_address_space_Services(chosen)
        waiting = chosen.nodes
        while True:
            left = list(self.node_mgt_service.try_add_nodes(waiting, check=False))
            if len(left) == len(waiting):  # their parents or types are not among the chosen
                break
            waiting = left
        list(self.node_mgt_service.try_add_references(chosen.references))
        del generated
        _forget_generated()


class _Chosen:
    """Takes what the generated code hands over, and keeps the heart."""

    def __init__(self) -> None:
        self.nodes: list[ua.AddNodesItem] = []
        self.references: list[ua.AddReferencesItem] = []

    def add_nodes(self, items: Iterable[ua.AddNodesItem]) -> None:
        self.nodes += [item for item in items if _is_heart(item.RequestedNewNodeId)]

    def add_references(self, items: Iterable[ua.AddReferencesItem]) -> None:
        self.references += [i for i in items if _is_heart(i.SourceNodeId) and _is_heart(i.TargetNodeId)]


def _is_heart(node: ua.NodeId) -> bool:
    number: int = node.Identifier
    return number < HEART or _NAMES.get(number, "").startswith(SERVER)


def _forget_generated() -> None:
    """Nine megabytes of Python that has done its work."""
    for name in [name for name in sys.modules if name.startswith(GENERATED)]:
        vars(sys.modules.pop(name)).clear()
    gc.collect()
