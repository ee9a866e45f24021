"""The demo's plant: a Modbus server with four presses (the fourth misbehaves), an OPC UA server with four ovens, and an MQTT broker
with ten pumps. Real servers on loopback, in one process of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import struct
import time
from datetime import UTC, datetime
from typing import Any

from amqtt.broker import Broker
from amqtt.client import MQTTClient
from asyncua import Server, ua
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from actors import guard
from streamforge.demo import signals
from streamforge.demo.address_space import SmallServer

OPCUA_NAMESPACE = "urn:streamforge:demo:ovens"
CHANGE_EVERY_S = 0.1
MOODS = 0.002
"""Share of the fourth press's answers that come late and say that it is busy."""


def modbus_words(press: int, t: float) -> list[int]:
    """Holding registers 0..15 of one press: six float32, the strokes as uint32, two spare words."""
    packed = struct.pack(">6fI4x", *signals.press_floats(press, t), signals.strokes(press, t))
    return list(struct.unpack(">16H", packed))


def press_device(press: int) -> SimDevice:
    async def answer(
        function_code: int,
        _start: int,
        _address: int,
        _count: int,
        registers: list[int],
        _set_values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        t = time.time()
        if press == signals.PRESSES and random.random() < MOODS:  # noqa: S311 - a moody device, not a secret
            await asyncio.sleep(random.choice([0.2, 0.6]))  # noqa: S311
            return ExcCodes.DEVICE_BUSY
        if function_code in {3, 4}:
            words = modbus_words(press, t)
            registers[: len(words)] = words
        else:
            registers[0] = int(signals.door_open(press, t))
        return None

    coils = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    discrete = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    words = [SimData(0, count=16, values=0, datatype=DataType.REGISTERS)]
    return SimDevice(id=press, simdata=(coils, discrete, words, [*words]), action=answer)


async def run_modbus(port: int) -> None:
    devices = [press_device(press) for press in range(1, signals.PRESSES + 1)]
    await ModbusTcpServer(devices, address=("127.0.0.1", port)).serve_forever()


async def run_opcua(port: int) -> None:
    server = Server(iserver=SmallServer())
    await server.init()
    guard.give_memory_back()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    namespace = await server.register_namespace(OPCUA_NAMESPACE)
    nodes: list[list[Any]] = []
    for number in range(1, signals.OVENS + 1):
        folder = await server.nodes.objects.add_object(ua.NodeId(f"oven_{number}", namespace), f"oven_{number}")
        nodes.append(
            [
                await folder.add_variable(ua.NodeId(f"oven_{number}.{name}", namespace), name, 0.0)
                for name in signals.OVEN_SIGNALS
            ]
        )
    async with server:
        while True:
            now = datetime.now(UTC)
            for number, variables in enumerate(nodes, 1):
                for node, value in zip(variables, signals.oven(number, now.timestamp()), strict=True):
                    variant = ua.Variant(value, ua.VariantType.Double)
                    await server.write_attribute_value(node.nodeid, ua.DataValue(variant, SourceTimestamp=now))
            await asyncio.sleep(CHANGE_EVERY_S)


async def run_mqtt(port: int) -> None:
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    broker = Broker(
        {
            "listeners": {"default": listener},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    client = MQTTClient(client_id="pumps")
    await client.connect(f"mqtt://127.0.0.1:{port}/")
    while True:
        now = time.time()
        for number in range(1, signals.PUMPS + 1):
            payload = {"time": datetime.fromtimestamp(now, UTC).isoformat(), **signals.pump(number, now)}
            if number == signals.PUMPS and int(now) % 20 == 0:
                await client.publish(f"plant/pump_{number}/state", b'{"time": "soon", "flow": "wet"', qos=1)
            else:
                await client.publish(f"plant/pump_{number}/state", json.dumps(payload).encode(), qos=1)
        await asyncio.sleep(0.5)


async def main(modbus: int, opcua: int, mqtt: int) -> None:
    async with asyncio.TaskGroup() as servers:
        servers.create_task(run_modbus(modbus))
        servers.create_task(run_opcua(opcua))
        servers.create_task(run_mqtt(mqtt))


def run(modbus: int, opcua: int, mqtt: int) -> int:
    """Until killed."""
    guard.name_process("plant")
    logging.basicConfig(level=logging.ERROR)
    for chatty in ("asyncua", "amqtt", "pymodbus", "transitions"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    asyncio.run(main(modbus, opcua, mqtt))
    return 0
