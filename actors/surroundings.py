"""How people reach this gateway from a terminal, so that what a message names works when it is copied: its command with the data
directory, where its log goes, what restarts it as a whole.

Whoever starts a gateway puts the first two into the environment, which every process of it inherits; the rest is what Linux says of a
process. Not responsible for what the commands do.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

COMMAND, DATA = "STREAMFORGE_COMMAND", "STREAMFORGE_DATA"
"""Environment variables: what stands before a command's name, as `./run -- streamforge`; the data directory, as for the command line."""
UNIT = "STREAMFORGE_UNIT"
"""Set by a daemon that systemd waits for (streamforge/notify.py): the name of its unit."""
HOME = Path("/var/lib/streamforge")
"""The data directory of an installed gateway: the command line finds it by itself."""

_SERVICE = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)


def prefix() -> str:
    return os.environ.get(COMMAND) or "streamforge"


def data_option() -> str:
    """` --data DIR` where the command line would not look there by itself."""
    data = os.environ.get(DATA)
    return f" --data {shlex.quote(data)}" if data and Path(data) != HOME else ""


def command(words: str) -> str:
    """`restart press_4` as it is typed here."""
    return f"{prefix()} {words}{data_option()}"


def log_place(pid: int | None = None) -> str:
    """Where the words of a process go (this one, unless said): a command, a file, or the terminal it was started in."""
    at = Path("/proc") / (str(pid) if pid else "self")
    try:
        target = os.fspath((at / "fd" / "2").readlink())
    except OSError:
        return "where it was started"
    unit = unit_of(pid)
    if target.startswith("socket:") and unit:
        return f"journalctl -u {unit}"
    if target == "/dev/null":
        return "nowhere: it was started with its standard error thrown away"
    if target.endswith(" (deleted)"):
        return "a file that was deleted meanwhile"
    if target.startswith("/") and not target.startswith("/dev/"):
        return target
    return "the terminal it was started in"


def unit_of(pid: int | None = None) -> str | None:
    """The name of the systemd service a process belongs to, as its control group says."""
    try:
        text = (Path("/proc") / (str(pid) if pid else "self") / "cgroup").read_text()
    except OSError:
        return None
    found = _SERVICE.findall(text)
    return str(found[-1]).removesuffix(".service") if found else None


def restart_whole() -> str:
    """What a person does to start the whole gateway anew."""
    unit = os.environ.get(UNIT)
    return f"systemctl restart {unit}" if unit else "end it with Ctrl-C or SIGTERM, and start it as before"
