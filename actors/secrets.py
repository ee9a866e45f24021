"""Secrets: `${secret:name}` in a configuration becomes its value here, in the worker that needs it, and nowhere else.

Looked for in systemd's credentials, in `<data_dir>/secrets/<name>`, then in the environment. The value never travels in a message and never
stands in a log, a report or a configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.faults import CannotWork
from schemas.gateway import secret_name

PREFIX = "STREAMFORGE_SECRET_"


class NoSecret(CannotWork):
    """A secret is referred to but nowhere to be found; the text says where it was looked for."""


def resolve(config: Any, data_dir: Path, environment: Mapping[str, str] = os.environ) -> Any:
    """The same configuration with every reference replaced. Raises NoSecret."""
    if isinstance(config, str):
        name = secret_name(config)
        return config if name is None else value(name, data_dir, environment)
    if isinstance(config, dict):
        return {key: resolve(item, data_dir, environment) for key, item in config.items()}
    if isinstance(config, list):
        return [resolve(item, data_dir, environment) for item in config]
    return config


def value(name: str, data_dir: Path, environment: Mapping[str, str] = os.environ) -> str:
    """One secret, without a trailing end of line or what some editors put in front. Raises NoSecret."""
    files = _files(name, data_dir, environment)
    for file in files:
        try:
            found = file.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeDecodeError:
            raise NoSecret(f"secret {name!r}: {file} is not UTF-8 text", how_to_set(name, data_dir)) from None
        except OSError as error:
            text = f"secret {name!r}: {file} cannot be read: {error.strerror}"
            raise NoSecret(text, f"let the gateway's user read it: chmod 600 and chown for {file}") from None
        if not found:
            raise NoSecret(f"secret {name!r}: {file} is empty", how_to_set(name, data_dir))
        return found
    variable = _variable(name)
    if variable in environment:
        return environment[variable]
    places = ", ".join(map(str, files))
    raise NoSecret(
        f"secret {name!r} is nowhere: not in {places}, and {variable} is not set", how_to_set(name, data_dir)
    )


def names(config: Any) -> set[str]:
    """Of all secrets that a configuration refers to."""
    if isinstance(config, str):
        name = secret_name(config)
        return set() if name is None else {name}
    inside = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    return set().union(*map(names, inside))


def place(name: str, data_dir: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Where a secret was read from, and what a person does who changes it there: only files are read anew by a worker that is started anew."""
    *credential, own = _files(name, data_dir, environment)
    if any(file.exists() for file in credential):
        return f"systemd's credential {credential[0]}, which it keeps until the whole gateway is started anew"
    if own.exists():
        return str(own)
    return f"the environment variable {_variable(name)}, which a running gateway does not see change: {own}, if made, goes before it"


def _files(name: str, data_dir: Path, environment: Mapping[str, str]) -> list[Path]:
    own = data_dir / "secrets" / name
    given = environment.get("CREDENTIALS_DIRECTORY")
    return [own] if given is None else [Path(given) / name, own]


def _variable(name: str) -> str:
    return PREFIX + "".join(c if c.isalnum() else "_" for c in name).upper()


def how_to_set(name: str, data_dir: Path) -> str:
    """The command for a person, which leaves the secret in no history and in no list of processes."""
    return f"as the gateway's user: install -D -m 600 /dev/stdin {data_dir / 'secrets' / name} (type the secret, Enter, Ctrl-D)"
