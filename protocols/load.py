"""From an adapter's JSON configuration to its validated model and its class, through the two tables of text.

Shared by the adapter actor, `streamforge check` and the conformance suite; imports a protocol's library only when it is named.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from protocols import ADAPTERS, CONFIGS
from protocols.contract import Adapter, BadConfig
from schemas.gateway import AdapterConfig
from schemas.mistakes import as_text
from schemas.validation import validate


def config_model(protocol: str) -> type[AdapterConfig]:
    """The configuration model of a protocol. Raises BadConfig for a protocol that is not in the table."""
    if protocol not in CONFIGS:
        raise BadConfig(f"protocol: {protocol!r} is not known; right would be one of {', '.join(sorted(CONFIGS))}")
    model: type[AdapterConfig] = _named(CONFIGS[protocol])
    return model


def placed(config: dict[str, Any], data_dir: str) -> dict[str, Any]:
    """The configuration with the gateway's own directories for certificates and for what must outlive a process, where a protocol
    keeps some; a path in the file is inside the data directory unless it is absolute."""
    protocol = str(config.get("protocol"))
    if protocol not in CONFIGS:
        return config
    fields = config_model(protocol).model_fields
    rooms = {name: room for name, room in (("certs_dir", "certs"), ("state_dir", "state")) if name in fields}
    return config | {
        name: str(Path(data_dir) / (config.get(name) or f"{room}/{protocol}")) for name, room in rooms.items()
    }


def validated(config: dict[str, Any]) -> AdapterConfig:
    """The configuration as its protocol's model. Raises BadConfig with every mistake."""
    made, mistakes = validate(config_model(str(config.get("protocol"))), config)
    if made is None:
        words = [f"{as_text(each.place)}: {each.message}" for each in mistakes]
        raise BadConfig(f"adapter {config.get('id')!r}: " + "; ".join(words))
    return made


def make(config: AdapterConfig) -> Adapter:
    """The adapter for a validated configuration; does no I/O."""
    adapter: Adapter = _named(ADAPTERS[config.protocol])(config)
    return adapter


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
