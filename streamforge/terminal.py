"""Standard output as it really is: a terminal of some width, a pipe that ends early, an encoding that knows few letters."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def prepare() -> None:
    """A letter that the locale cannot write becomes its code instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def console() -> Console:
    """For people: colours and folding on a terminal only; NO_COLOR is honoured."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False, emoji=False, markup=False)


def nobody_reads(error: BaseException | None) -> bool:
    """Whether this, or what it came from, is the end of a pipe's reader, as in `| head`: no failure of ours."""
    while error is not None:
        if isinstance(error, BrokenPipeError):
            return True
        error = error.__context__
    return False


def finish(code: int) -> None:
    """Leave with this exit code, also when what is still to be written cannot be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
