"""The text of the file a person named. Knows what files can be instead of text, and nothing of YAML (yaml_source.py)."""

from __future__ import annotations

import difflib
import os
import pwd
from pathlib import Path

SIZE_MAX = 16 * 2**20
EXAMPLE = "the path of a gateway file, as /etc/streamforge/gateway.yaml"
_BINARY = (
    (b"\x1f\x8b", "is compressed with gzip; right would be the YAML file in it"),
    (b"PK\x03\x04", "is an archive or an office document; right would be a YAML file, saved as plain text"),
    (b"\xff\xfe", "is UTF-16 text; right would be UTF-8, chosen when the file is saved"),
    (b"\xfe\xff", "is UTF-16 text; right would be UTF-8, chosen when the file is saved"),
)


class Unreadable(Exception):
    """The file is not there or is not YAML. `line` is 1-based, or None."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def read_text(path: Path) -> str:
    """Raises Unreadable with what is wrong and what would be right."""
    try:
        if path.is_dir():
            raise Unreadable(f"is a directory; right would be a YAML file{_in(path)}")
        if not path.exists():
            raise Unreadable(_gone(path))
        if not path.is_file():
            raise Unreadable("is a device or a pipe and not a file; right would be a YAML file")
        if path.stat().st_size > SIZE_MAX:
            raise Unreadable("is longer than any gateway file; right would be at most 16 MiB")
        content = path.read_bytes()
    except OSError as error:
        user = pwd.getpwuid(os.geteuid()).pw_name
        raise Unreadable(f"cannot be read: {error.strerror}; right would be a file that user {user} may read") from None
    return _decoded(content)


def _gone(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there; right would be {EXAMPLE}"
    if not path.parent.is_dir():
        return f"is not there, for {path.parent} is no directory; right would be {EXAMPLE}"
    return f"is not there; right would be {EXAMPLE}{_in(path.parent, path.name)}"


def _in(directory: Path, wanted: str = "") -> str:
    """The YAML file of a directory that was probably meant: the one of the closest name, or the only one."""
    names = sorted(p.name for p in directory.iterdir() if p.suffix in {".yaml", ".yml"} and p.is_file())
    found = difflib.get_close_matches(wanted, names, n=1) if wanted else names[:1] if len(names) == 1 else []
    return f"; did you mean {directory / found[0]}?" if found else ""


def _decoded(content: bytes) -> str:
    for beginning, words in _BINARY:
        if content.startswith(beginning):
            raise Unreadable(words, 1)
    if b"\0" in content:
        raise Unreadable("is a binary file and no text; right would be a YAML file", 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = f"is not UTF-8 text (byte {content[error.start]:#04x})"
        raise Unreadable(f"{wrong}; right would be UTF-8, chosen when the file is saved", line) from None
