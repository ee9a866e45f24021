"""Ports that the demo and the benchmarks choose before the servers that listen there have started."""

from pathlib import Path

import pytest

from streamforge.system import free_ports, is_free

ABOVE = 20_000
"""From there on Linux gives ports to outgoing connections, unless its administrator has widened the range."""


def test_they_are_free_and_nobody_gets_them_by_chance_meanwhile():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)


def test_the_kernel_does_not_give_them_to_outgoing_connections():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if first < ABOVE:
        pytest.skip(f"this kernel hands out its ports from {first} on")
    assert max(free_ports(20)) < first
