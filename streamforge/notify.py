"""systemd's notification protocol (sd_notify(3)): datagrams of NAME=VALUE lines to the socket in NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Without NOTIFY_SOCKET in the environment it says nothing. The variables are taken out, so that no child can speak for us."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec = os.environ.pop("WATCHDOG_USEC", "")
        meant = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() and meant else None
        """How long systemd waits for the next `watchdog`; None if it does not."""
        self._said = ""

    @property
    def listens(self) -> bool:
        """Does systemd wait for what is said here?"""
        return bool(self._address)

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line shown by `systemctl status`."""
        if text != self._said:
            self._said = text
            self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self, within_s: float) -> None:
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
                out.sendto(text.encode(), address)
        except OSError:
            return  # systemd judges by what it does not hear.
