"""The fixture `mosquitto`: makes real brokers on free loopback ports, with users, TLS and persistence as asked; and small publishers.

Where Debian's mosquitto is missing (apt-get install -y --no-install-recommends mosquitto) the tests that need it are skipped with that sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from actors import guard
from tests.kit.ports import free_port, listens
from tests.kit.waiting import wait_until

DEADLINE_S = 30
BINARY = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MISSING = "no mosquitto here; apt-get install -y --no-install-recommends mosquitto"


@dataclass
class Mosquitto:
    """One broker. `start` and `stop` as often as wanted; the port and, with `persistence`, the data stay."""

    directory: Path
    lines: list[str] = field(default_factory=list)
    """More lines of its configuration file."""
    users: dict[str, str] = field(default_factory=dict)
    persistence: bool = False
    tls: dict[str, Path] = field(default_factory=dict)
    """cafile, certfile, keyfile."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BINARY, MISSING
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "mosquitto.conf").write_text("\n".join(self._config()) + "\n")
        with (self.directory / "mosquitto.log").open("ab") as log:
            parent = os.getpid()
            self.process = subprocess.Popen(
                [BINARY, "-v", "-c", str(self.directory / "mosquitto.conf")],
                stdout=log, stderr=log, preexec_fn=lambda: guard.die_with(parent),
            )  # fmt: skip
        process = self.process
        wait_until(lambda: listens(self.port) or process.poll() is not None, DEADLINE_S, lambda: self.log()[-2000:])
        assert process.poll() is None, f"mosquitto ended: {self.log()[-2000:]}"

    def stop(self, *, kill: bool = False) -> None:
        """SIGTERM (it then saves what it persists) or SIGKILL."""
        if self.process:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(DEADLINE_S)
            self.process = None

    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")

    def _config(self) -> list[str]:
        lines = [f"listener {self.port} 127.0.0.1", "log_timestamp false"]
        # As root mosquitto would become a user who may not read the test's directory.
        lines += ["user root"] if os.geteuid() == 0 else []
        lines += [f"persistence {'true' if self.persistence else 'false'}", f"persistence_location {self.directory}/"]
        lines += [f"{name} {path}" for name, path in self.tls.items()]
        if self.users:
            self._write_users()
            lines += ["allow_anonymous false", f"password_file {self.directory}/users"]
        elif not any(line.startswith("allow_anonymous") for line in self.lines):
            lines.append("allow_anonymous true")
        return lines + self.lines

    def _write_users(self) -> None:
        file = self.directory / "users"
        file.write_text("".join(f"{name}:{password}\n" for name, password in self.users.items()))
        file.chmod(0o600)
        tool = shutil.which(
            "mosquitto_passwd", path=f"{Path(BINARY or '').parent}:{os.environ.get('PATH', '')}:/usr/bin"
        )
        assert tool, MISSING
        subprocess.run([tool, "-U", str(file)], check=True)


class Publisher:
    """A paho client with its own thread, as devices have; `send` waits until the broker confirmed."""

    def __init__(
        self, port: int, user: str | None = None, password: str | None = None, client_id: str = "", five: bool = False
    ) -> None:
        version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version)
        self.client.max_inflight_messages_set(1000)
        if user:
            self.client.username_pw_set(user, password)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(DEADLINE_S)

    def send_many(self, messages: list[tuple[str, bytes | str]], qos: int = 1) -> None:
        sent = [self.client.publish(topic, payload, qos) for topic, payload in messages]
        for one in sent:
            one.wait_for_publish(DEADLINE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Factory:
    """Call it with Mosquitto's fields; all are stopped at the end of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.brokers: list[Mosquitto] = []
        self.publishers: list[Publisher] = []

    def __call__(self, **fields: object) -> Mosquitto:
        broker = Mosquitto(self.directory / f"broker{len(self.brokers)}", **fields)  # type: ignore[arg-type]
        self.brokers.append(broker)
        broker.start()
        return broker

    def publisher(self, broker: Mosquitto, **given: object) -> Publisher:
        one = Publisher(broker.port, **given)  # type: ignore[arg-type]
        self.publishers.append(one)
        return one

    def stop(self) -> None:
        for one in self.publishers:
            one.close()
        for broker in self.brokers:
            broker.stop(kill=True)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Factory]:
    if not BINARY:
        pytest.skip(MISSING)
    factory = Factory(tmp_path)
    try:
        yield factory
    finally:
        factory.stop()


@contextlib.asynccontextmanager
async def publishing(port: int, topic: str, every_s: float = 0.1, qos: int = 0) -> AsyncIterator[None]:
    """Something that publishes a rising number for ever, and comes back by itself when the broker does."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(1, 1)

    async def drive() -> None:
        n = 0
        while True:
            n += 1
            client.publish(topic, str(n), qos)
            await asyncio.sleep(every_s)  # its pace

    await asyncio.to_thread(client.connect, "127.0.0.1", port)
    client.loop_start()
    task = asyncio.ensure_future(drive())
    try:
        yield
    finally:
        task.cancel()
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
