"""asyncua's message types without its type hints: it declares plain numbers and texts as types of their own, so that every
literal would need a cast."""

from __future__ import annotations

from typing import Any

from asyncua import ua as _ua

ua: Any = _ua
