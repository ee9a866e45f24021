"""From an adapter's JSON configuration to its validated model and its class, through the two tables of text.

Shared by the adapter actor, `streamforge check` and the conformance suite; imports a protocol's library only when it is named.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from protocols import ADAPTERS, CONFIGS
from protocols.contract import Adapter, BadConfig
from schemas.gateway import AdapterConfig


def config_model(protocol: str) -> type[AdapterConfig]:
    """The configuration model of a protocol. Raises BadConfig for a protocol that is not in the table."""
    if protocol not in CONFIGS:
        raise BadConfig(f"protocol: {protocol!r} is not known; right would be one of {', '.join(sorted(CONFIGS))}")
    model: type[AdapterConfig] = _named(CONFIGS[protocol])
    return model


def placed(config: dict[str, Any], data_dir: str) -> dict[str, Any]:
    """The configuration with the gateway's own directory for certificates, where a protocol keeps some; a path in the file is inside
    the data directory unless it is absolute."""
    protocol = str(config.get("protocol"))
    if protocol not in CONFIGS or "certs_dir" not in config_model(protocol).model_fields:
        return config
    return {**config, "certs_dir": str(Path(data_dir) / (config.get("certs_dir") or f"certs/{protocol}"))}


def validated(config: dict[str, Any]) -> AdapterConfig:
    """The configuration as its protocol's model. Raises BadConfig with every error, one a line."""
    try:
        return config_model(str(config.get("protocol"))).model_validate(config)
    except ValidationError as wrong:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors(include_url=False)]
        raise BadConfig(f"adapter {config.get('id')!r}:\n" + "\n".join(lines)) from None


def make(config: AdapterConfig) -> Adapter:
    """The adapter for a validated configuration; does no I/O."""
    adapter: Adapter = _named(ADAPTERS[config.protocol])(config)
    return adapter


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
