"""An OPC UA server with the heart of the standard address space: 600 of its 6,200 nodes, enough for every client that browses and reads.

asyncua fills in all of them, with 50 MB and seconds of work that a demo has no use for. The nodes come from asyncua's own generated code,
which a process of its own reads and takes with it when it ends: 12 MB that would stay in the server's otherwise.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from asyncua import ua
from asyncua.server.internal_server import InternalServer

HEART = 12_000
"""Numeric ids below are types, folders and the server object of OPC UA 1.02; later parts (devices, PubSub, files, roles) lie above."""
MEMBERS = ("Server_", "OPCUANamespaceMetadata", "BaseEventType_", "ModellingRule_")
"""Of these the parts are there, too, wherever they lie; of other types (names without `_`) neither members nor encodings nor schemas."""
CHOSEN_WITHIN_S = 60.0


class SmallServer(InternalServer):  # type: ignore[misc]  # untyped
    """For asyncua's `Server(iserver=...)`."""

    async def load_standard_address_space(self, _shelf_file: Path | None = None) -> None:
        """Add the nodes, parents before children, and then the references among them."""
        chosen = _chosen_elsewhere()
        waiting = chosen.nodes
        while True:
            left = list(self.node_mgt_service.try_add_nodes(waiting, check=False))
            if len(left) == len(waiting):  # their parents or types are not among the chosen
                break
            waiting = left
        list(self.node_mgt_service.try_add_references(chosen.references))


@dataclass
class Chosen:
    """Takes what the generated code hands over, and keeps the heart."""

    nodes: list[ua.AddNodesItem] = field(default_factory=list)
    references: list[ua.AddReferencesItem] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = {name: number for name, number in vars(ua.ObjectIds).items() if isinstance(number, int)}
        heart = (n for name, n in numbers.items() if n < HEART and "_" not in name)
        self._heart = {*heart, *(n for name, n in numbers.items() if name.startswith(MEMBERS))}

    def add_nodes(self, items: Iterable[ua.AddNodesItem]) -> None:
        self.nodes += [item for item in items if self._is_heart(item.RequestedNewNodeId)]

    def add_references(self, items: Iterable[ua.AddReferencesItem]) -> None:
        self.references += [i for i in items if self._is_heart(i.SourceNodeId) and self._is_heart(i.TargetNodeId)]

    def _is_heart(self, node: ua.NodeId) -> bool:
        return node.Identifier in self._heart


def _chosen_elsewhere() -> Chosen:
    """Raises TimeoutError, and EOFError when the process ended without an answer."""
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    chooser = fork.Process(target=_choose, args=(sending,), daemon=True)
    chooser.start()
    sending.close()
    if not receiving.poll(CHOSEN_WITHIN_S):
        raise TimeoutError(f"asyncua's address space was not read within {CHOSEN_WITHIN_S:g} s")
    chosen: Chosen = receiving.recv()
    chooser.join()
    return chosen


def _choose(answer: Connection) -> None:
    from asyncua.server.standard_address_space import standard_address_space_services as generated

    chosen = Chosen()
    generated.create_standard_address_space_Services(chosen)
    answer.send(chosen)
