"""The demo's processes: plant, historian, gateway; started side by side, watched, and ended in order."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from stream.broker.ports import free_pair
from streamforge.client import Gateway
from streamforge.config_file import load
from streamforge.daemon import share_memory
from streamforge.demo import plant
from streamforge.demo.forks import Fork
from streamforge.demo.gateway_file import Ports, gateway_file
from streamforge.demo.historian import Historian
from streamforge.plan import plan
from streamforge.system import free_ports, is_free

GATEWAY_STOPS_WITHIN_S = 90.0
PLANT_ENDS_WITHIN_S = 10.0
LOG_TAIL_LINES = 15


class DemoFailed(Exception):
    """A part of the demo ended or did not start; the text says which and shows its last words."""


class Parts:
    """Everything the demo runs, in one directory."""

    def __init__(self, data: Path, page: int, durability: str, chaos: bool, command_line: Callable[[], None]) -> None:
        """`command_line` is what `streamforge ARGS` runs: the gateway is started as a person would start it."""
        self._command_line = command_line
        self.data = data.resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.gateway_data = self.data / "gateway"
        self.historian = Historian(self.data / "postgres")
        if page and not is_free(page):
            raise DemoFailed(f"port {page} for the page is in use; name another with --page, or 0 for a free one")
        modbus, opcua, mqtt = free_ports(3)
        kafka = free_pair()
        self.ports = Ports(modbus, opcua, mqtt, self.historian.port, kafka, page)
        self.file = self.data / "gateway.yaml"
        self.file.write_text(gateway_file(self.ports, durability, chaos), encoding="utf-8")
        self._tell_password()
        self._plant: Fork | None = None
        self._gateway: Fork | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """The gateway first, its broker takes longest; it waits for the others as it would for real ones."""
        share_memory(plan(load(self.file), self.gateway_data))
        self._gateway = Fork(self._run_gateway, self.data / "gateway.log")
        ports = (self.ports.modbus, self.ports.opcua, self.ports.mqtt)
        self._plant = Fork(lambda: plant.run(*ports), self.data / "plant.log")
        self.historian.start()

    def partitions(self) -> int:
        """Of each topic, as the configuration says."""
        return load(self.file).gateway.stream.partitions

    def _tell_password(self) -> None:
        """Where the gateway looks for secrets."""
        secret = self.gateway_data / "secrets" / "historian"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.unlink(missing_ok=True)
        secret.touch(0o600)
        secret.write_text(self.historian.password())

    def _run_gateway(self) -> int:
        sys.argv = ["streamforge", "run", str(self.file), "--data", str(self.gateway_data)]
        self._command_line()
        return 0

    def gateway(self) -> Gateway:
        return Gateway(self.gateway_data)

    def check(self) -> None:
        """Raises DemoFailed when a part has ended."""
        for process, name in ((self._gateway, "gateway"), (self._plant, "plant")):
            if process is not None and process.poll() is not None:
                raise DemoFailed(
                    f"the {name} ended with {process.returncode}; the end of {self.data / name}.log:\n{self.words(name)}"
                )

    def words(self, name: str) -> str:
        lines = (self.data / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def stop_plant(self) -> None:
        """The machines fall silent: what is in the gateway can drain."""
        if self._plant is not None:
            silent, self._plant = self._plant, None
            silent.kill()
            silent.wait(PLANT_ENDS_WITHIN_S)

    def stop(self) -> None:
        self.stop_plant()
        if self._gateway is not None and self._gateway.poll() is None:
            self._gateway.send_signal(signal.SIGTERM)
            try:
                self._gateway.wait(GATEWAY_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._gateway.kill()
        self.historian.stop()
