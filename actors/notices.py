"""What a worker's loop has to say until its mailbox hears it: in order, and bounded. Not responsible for ringing the bell (io_actor.py).

The policy where the mailbox does not get to hear: news, as figures are, takes the place of unheard news of the same name, which it makes
worthless; an order, which must not be lost, is refused when ORDERS_MOST are unheard already, so that whoever gave it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

Notice = Callable[[], None]

ORDERS_MOST = 100
"""As many as one supervisor lets wait (supervisors/orders.py)."""


class Notices:
    """Written by the loop's thread, taken by the mailbox's; the lock is held for as long as a dict needs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unheard: dict[object, Notice] = {}
        self._orders = 0
        self.replaced = 0
        """News that newer news took the place of."""

    @property
    def orders(self) -> int:
        """Orders that wait; news adds no more than one of each name."""
        return self._orders

    def news(self, name: str, notice: Notice) -> None:
        with self._lock:
            self.replaced += self._unheard.pop(name, None) is not None
            self._unheard[name] = notice

    def order(self, notice: Notice) -> bool:
        """False: there is no room for it."""
        with self._lock:
            if self._orders >= ORDERS_MOST:
                return False
            self._orders += 1
            self._unheard[object()] = notice
            return True

    def take(self) -> list[Notice]:
        """All that is unheard, oldest first."""
        with self._lock:
            taken, self._unheard, self._orders = list(self._unheard.values()), {}, 0
        return taken
