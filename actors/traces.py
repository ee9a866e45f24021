"""What a traceback says in one sentence: the exception's own words, without its frames and without our class names. Pure.

A class of ours is a word for programmers (`actors.secrets.NoSecret: the secret 'plc' is nowhere` says no more with it); that of a
library, and Python's own, are often half of what is known (`KeyError: 'unit'`), so they stay, without their module.
"""

from __future__ import annotations

import re

_ROOMS = "actors|supervisors|stream|pipeline|protocols|sinks|control|schemas|streamforge"
_OURS = re.compile(rf"(^|[\s:;])(?:{_ROOMS})(?:\.\w+)+: ")
_THEIRS = re.compile(r"^(?:\w+\.)+([A-Z]\w*)(?=$|: )")
_BORDER = re.compile(r"^[ |]*(\+-+.*$|\| ?)")
"""What Python draws around the exceptions of a group."""
_GROUP = re.compile(r"^[\w.]*ExceptionGroup: .*\(\d+ sub-exceptions?\)$")


def plain(sentence: str) -> str:
    """Without the names of our own exception classes."""
    return _OURS.sub(r"\1", _THEIRS.sub(r"\1", _OURS.sub(r"\1", sentence)))


def last_words(text: str) -> str:
    """Of a traceback, or the end of one, the exception; of a group of exceptions the last one; of other text its last line."""
    lines = [line.rstrip() for line in (_BORDER.sub("", line) for line in text.splitlines()) if line.strip()]
    if not lines:
        return ""
    frames = [at for at, line in enumerate(lines) if line.startswith('  File "')]
    after = (
        [line for line in lines[frames[-1] :] if not line.startswith(" ") and not _GROUP.match(line)] if frames else []
    )
    return plain((after or lines[-1:])[0].strip())
