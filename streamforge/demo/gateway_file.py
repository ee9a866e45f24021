"""The demo's configuration: an ordinary gateway file, written where the demo keeps its data, for people to read and change."""

from __future__ import annotations

from dataclasses import dataclass

from streamforge.demo import signals
from streamforge.demo.plant import OPCUA_NAMESPACE


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the demo's parts. `kafka` is followed by the controller's."""

    modbus: int
    opcua: int
    mqtt: int
    postgres: int
    kafka: int
    page: int


def gateway_file(ports: Ports, durability: str, chaos: bool) -> str:
    """The whole file as YAML."""
    return (
        "\n".join([_head(ports, durability, chaos), _modbus(ports), _opcua(ports), _mqtt(ports), _tail(ports)]) + "\n"
    )


def _head(ports: Ports, durability: str, chaos: bool) -> str:
    # Chaos kills twelve components a minute: far beyond what a sane gateway forgives.
    supervision = "supervision: {restarts_max: 1000, backoff_first: 100ms, backoff_most: 500ms}\n" if chaos else ""
    return f"""\
# Made by `streamforge demo`; a new start writes it anew.
gateway: {{id: demo-plant, site: this machine}}
stream: {{durability: {durability}, disk_budget: 2 GiB, port: {ports.kafka}}}
api: {{port: {ports.page}}}
{supervision}adapters:"""


def _modbus(ports: Ports) -> str:
    units = ("celsius", "bar", "mm", "A", "mm/s", "celsius")
    lines = [
        "  - id: presses",
        "    protocol: modbus_tcp",
        "    host: 127.0.0.1",
        f"    port: {ports.modbus}",
        "    every: 100ms",
        "    points:",
    ]
    for press in range(1, signals.PRESSES + 1):
        who = f"asset: press_{press}, unit_id: {press}"
        for i, (name, unit) in enumerate(zip(signals.PRESS_FLOATS, units, strict=True)):
            limits = ", range: [-20, 400]" if name == "die_temperature" else ""
            lines.append(
                f"      - {{{who}, parameter: {name}, address: {40001 + 2 * i}, type: float32, unit: {unit}{limits}}}"
            )
        lines.append(f"      - {{{who}, parameter: strokes, address: 40013, type: uint32}}")
        lines.append(f"      - {{{who}, parameter: door_open, address: 10001, type: bool, classification: EVENT}}")
    return "\n".join(lines)


def _opcua(ports: Ports) -> str:
    units = ("celsius", "m3/h", "m/min")
    lines = [
        "  - id: ovens",
        "    protocol: opcua",
        f"    endpoint: opc.tcp://127.0.0.1:{ports.opcua}/plant",
        "    publishing_interval: 200ms",
        "    points:",
    ]
    for oven in range(1, signals.OVENS + 1):
        for name, unit in zip(signals.OVEN_SIGNALS, units, strict=True):
            node = f'"nsu={OPCUA_NAMESPACE};s=oven_{oven}.{name}"'
            lines.append(
                f"      - {{asset: oven_{oven}, parameter: {name}, node: {node}, sampling_interval: 100ms, unit: {unit}}}"
            )
    return "\n".join(lines)


def _mqtt(ports: Ports) -> str:
    return f"""\
  - id: pumps
    protocol: mqtt
    host: 127.0.0.1
    port: {ports.mqtt}
    subscriptions:
      - topic: plant/+/state
        qos: 1
        asset: "{{topic[1]}}"
        mapping: json
        time: {{path: $.time, format: iso8601}}
        points:
          - {{parameter: flow, path: $.flow, unit: m3/h}}
          - {{parameter: head, path: $.head, unit: bar}}
          - {{parameter: running, path: $.running, classification: EVENT}}
          - {{parameter: state, path: $.state}}"""


def _tail(ports: Ports) -> str:
    topics = "telemetry.clean, events.clean, alarms.raw, telemetry.1s, telemetry.10s, telemetry.1min, telemetry.1hour"
    return f"""\
rules:
  - {{match: {{parameter: pressure}}, rate_of_change: {{max_per_second: 2000, quality: SUSPECT}}}}
  - {{match: {{adapter: presses}}, gap: {{expected: 1s}}}}
sinks:
  - id: historian
    type: postgres
    dsn: "postgresql://postgres@127.0.0.1:{ports.postgres}/postgres"
    password: "${{secret:historian}}"   # from the file secrets/historian in the gateway's data directory
    topics: [{topics}]"""
