"""Addresses of nodes: node ids and browse paths, from text to OPC UA's own shapes. Pure; asking the server is resolve.py's.

Node id: `ns=2;s=Temp`, `nsu=urn:plant:press;i=17`, `i=2258`; kinds i (number), s (text), g (GUID), b (base64).
Browse path: names after slashes from the root folder: `/Objects/nsu=urn:plant:press;Press4/Sensors/Temp`. A name may be given its
namespace as `nsu=<uri>;name` or `ns=<index>;name`; one without is in the namespace of the name before it, the first in 0.
`&` before `/` or `&` takes them as part of a name.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from dataclasses import dataclass
from typing import Any

from asyncua import ua

_NODE = re.compile(r"(?:ns=(?P<index>\d{1,5});|nsu=(?P<uri>[^;]+);)?(?P<kind>[isgb])=(?P<identifier>.+)", re.DOTALL)
_NAMESPACE = re.compile(r"ns=(?P<index>\d{1,5});|nsu=(?P<uri>[^;]+);")
_NAME = re.compile(r"(?:[^/&]|&.)+", re.DOTALL)
_WANTED = "nsu=urn:example;s=Name, ns=2;s=Name or i=2258"

Namespace = int | str
"""The index, or the URI, which stays the same when the server restarts."""


class UnknownNamespace(Exception):
    """The server has no such namespace."""


@dataclass(frozen=True, slots=True)
class NodeAddress:
    namespace: Namespace
    identifier: int | str | bytes | uuid.UUID


@dataclass(frozen=True, slots=True)
class Name:
    """One browse name of a path."""

    namespace: Namespace
    name: str


def parse_node(text: str) -> NodeAddress:
    """Raises ValueError with what would be right."""
    found = _NODE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a node id; right would be {_WANTED}")
    try:
        identifier = _identifier(found["kind"], found["identifier"])
    except (ValueError, binascii.Error):
        kinds = {"i": "a number", "g": "a GUID", "b": "base64"}
        raise ValueError(f"{text!r}: what follows {found['kind']}= is not {kinds[found['kind']]}") from None
    return NodeAddress(_namespace(found) or 0, identifier)


def _identifier(kind: str, text: str) -> int | str | bytes | uuid.UUID:
    if kind == "i":
        number = int(text)
        if not 0 <= number < 2**32:
            raise ValueError(text)
        return number
    if kind == "g":
        return uuid.UUID(text)
    return base64.b64decode(text, validate=True) if kind == "b" else text


def _namespace(found: re.Match[str]) -> Namespace | None:
    return found["uri"] or (int(found["index"]) if found["index"] else None)


def parse_path(text: str) -> list[Name]:
    """Raises ValueError with what would be right."""
    names: list[Name] = []
    namespace: Namespace = 0
    at, text = 0, text.strip()
    while at < len(text):
        if text[at] != "/":
            raise _no_path(text)
        at += 1
        if prefix := _NAMESPACE.match(text, at):
            given = _namespace(prefix)
            namespace, at = 0 if given is None else given, prefix.end()
        found = _NAME.match(text, at)
        if not found:
            raise _no_path(text)
        names.append(Name(namespace, re.sub(r"&(.)", r"\1", found[0])))
        at = found.end()
    if not names:
        raise _no_path(text)
    return names


def _no_path(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a browse path; right would be /Objects/nsu=urn:example;Machine/Name")


def index_of(namespace: Namespace, namespaces: list[str]) -> int:
    """The namespace's index on the server that gave `namespaces` (its NamespaceArray)."""
    if isinstance(namespace, int):
        return namespace
    if namespace not in namespaces:
        raise UnknownNamespace(f"the server has no namespace {namespace}; it has {', '.join(namespaces)}")
    return namespaces.index(namespace)


def node_id(address: NodeAddress, namespaces: list[str]) -> Any:
    """As `ua.NodeId`. Raises UnknownNamespace."""
    return ua.NodeId(address.identifier, index_of(address.namespace, namespaces))


def browse_path(names: list[Name], namespaces: list[str]) -> Any:
    """As `ua.BrowsePath`, which TranslateBrowsePathsToNodeIds wants, from the root folder on.

    Any hierarchical reference counts. Raises UnknownNamespace.
    """
    elements = [
        ua.RelativePathElement(
            ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences),
            IsInverse=False,
            IncludeSubtypes=True,
            TargetName=ua.QualifiedName(name.name, index_of(name.namespace, namespaces)),
        )
        for name in names
    ]
    return ua.BrowsePath(ua.NodeId(ua.ObjectIds.RootFolder), ua.RelativePath(elements))
