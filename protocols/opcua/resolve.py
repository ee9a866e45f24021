"""Where the points' nodes are on this server, in this session: namespace URIs to indexes, browse paths to node ids. Which name of a
path is wrong, and what is there instead, is nearby.py's business."""

from __future__ import annotations

from typing import Any

from asyncua import ua

from protocols.opcua import nodes, quality
from protocols.opcua.items import Item
from protocols.opcua.link import Link
from protocols.opcua.nearby import explained

_EXPLAINED = 10
"""Most paths of one turn whose wrong name is looked for: it takes two requests each."""
_NO_PATHS = "the server does not look up browse paths"
_BEYOND = 0xFFFFFFFF
"""RemainingPathIndex of a target that was reached to the end."""


async def resolve(link: Link, items: list[Item]) -> list[tuple[Item, str, str]]:
    """Set each item's node id; returned are those that have none, why, and what more is to be said of each. Raises NotConnected."""
    failed: list[tuple[Item, str, str]] = []
    paths: list[tuple[Item, Any]] = []
    for item in items:
        try:
            if item.config.node is not None:
                item.node_id = nodes.node_id(nodes.parse_node(item.config.node), link.namespaces)
            else:
                paths.append((item, nodes.browse_path(nodes.parse_path(item.config.address), link.namespaces)))
        except nodes.UnknownNamespace as unknown:
            failed.append((item, str(unknown), ""))
    explain = _EXPLAINED

    async def translate(some: list[tuple[Item, Any]]) -> list[Any]:
        asked = link.session.translate_browsepaths_to_nodeids([p for _, p in some])
        answer: list[Any] = await link.ask(asked, "TranslateBrowsePaths")
        return answer

    looked_up: set[int] = set()
    try:
        async for some, found in link.in_parts("paths", paths, translate):
            for (item, path), result in zip(some, found, strict=True):
                looked_up.add(item.handle)
                if reason := _target(item, result):
                    more = ""
                    if result.StatusCode.value == ua.StatusCodes.BadNoMatch and explain > 0:
                        explain -= 1
                        more = await explained(link, path)
                    failed.append((item, reason, more))
    except ua.UaStatusCodeError as refused:  # small servers do without; points with a node id are none the worse for it
        why = f"{_NO_PATHS} ({quality.words(refused.code)}); right would be `node` with the node's id"
        failed += [(item, why, "") for item, _ in paths if item.handle not in looked_up]
    return failed


def _target(item: Item, result: Any) -> str | None:
    """Set the item's node id from one BrowsePathResult, or say why not."""
    if result.StatusCode.is_bad():
        return quality.words(result.StatusCode.value)
    ends = {t.TargetId.to_string(): t.TargetId for t in result.Targets or [] if t.RemainingPathIndex == _BEYOND}
    if len(ends) != 1:
        return (
            f"the path leads to {len(ends)} nodes ({', '.join(ends) or 'none'}); right would be `node` with one of them"
        )
    (target,) = ends.values()
    item.node_id = ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)
    return None


async def read_namespaces(link: Link) -> None:
    """Namespaces may be added while the server runs."""
    found = await link.ask(
        link.session.read_attributes([ua.NodeId(ua.ObjectIds.Server_NamespaceArray)], ua.AttributeIds.Value), "Read"
    )
    if found[0].Value is not None and found[0].Value.Value:
        link.namespaces = list(found[0].Value.Value)
