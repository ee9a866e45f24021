"""Where a browse path ends, for people: the name that is not there, and what is there instead. Asks the server; sets nothing."""

from __future__ import annotations

import difflib
from typing import Any

from asyncua import ua

from protocols.opcua import quality
from protocols.opcua.link import Link

_CHILDREN = 1000
"""Most children looked at."""
_SHOWN = 5


async def explained(link: Link, path: Any) -> str:
    """A sentence on this `ua.BrowsePath`, which leads nowhere; empty if the server does not help. Raises NotConnected."""
    elements = path.RelativePath.Elements
    beginnings = [ua.BrowsePath(path.StartingNode, ua.RelativePath(elements[:n])) for n in range(1, len(elements))]
    try:
        found = beginnings and await link.ask(
            link.session.translate_browsepaths_to_nodeids(beginnings), "TranslateBrowsePaths"
        )
        reached, start = 0, path.StartingNode
        for n, result in enumerate(found, 1):
            if result.StatusCode.is_bad() or not result.Targets:
                break
            target = result.Targets[0].TargetId
            reached, start = n, ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)
        children = await _children(link, start)
    except ua.UaStatusCodeError as refused:
        return f" (looking for what is there instead: {quality.name(refused.code)})"
    wanted = elements[reached].TargetName
    parent = elements[reached - 1].TargetName.Name if reached else "Root"
    return f". {_shown(link, wanted)} is not in {parent}; {_instead(link, wanted, children)}"


async def _children(link: Link, node: Any) -> list[Any]:
    """Browse names; a long list is cut off, and the server told to forget the rest."""
    wanted = ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
        IncludeSubtypes=True,
        ResultMask=ua.BrowseResultMask.BrowseName,
    )
    parameters = ua.BrowseParameters(RequestedMaxReferencesPerNode=_CHILDREN, NodesToBrowse=[wanted])
    (result,) = await link.ask(link.session.browse(parameters), "Browse")
    if result.ContinuationPoint:
        rest = ua.BrowseNextParameters(ReleaseContinuationPoints=True, ContinuationPoints=[result.ContinuationPoint])
        await link.ask(link.session.browse_next(rest), "BrowseNext")
    return [reference.BrowseName for reference in result.References or []]


def _instead(link: Link, wanted: Any, children: list[Any]) -> str:
    """The same name in another namespace first, then those that look alike, else the first ones."""
    if not children:
        return "there is nothing in it that this user may see"
    names = {_shown(link, child): child.Name or "" for child in children}
    same = [shown for shown, name in names.items() if name == wanted.Name]
    if same:
        return f"right would be {' or '.join(same[:_SHOWN])}"
    close = set(difflib.get_close_matches(wanted.Name, names.values(), _SHOWN, 0.6))
    alike = [shown for shown, name in names.items() if name in close]
    shown = alike or list(names)
    more = len(names) - len(shown[:_SHOWN])
    return f"there is {', '.join(shown[:_SHOWN])}" + (f" and {more} more" if more else "")


def _shown(link: Link, name: Any) -> str:
    """As it is written in a path."""
    index, text = name.NamespaceIndex, (name.Name or "").replace("&", "&&").replace("/", "&/")
    return f"nsu={link.namespaces[index]};{text}" if index < len(link.namespaces) else f"ns={index};{text}"
