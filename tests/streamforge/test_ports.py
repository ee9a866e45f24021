"""Ports that the demo and the benchmarks choose before the servers that listen there have started."""

from pathlib import Path

from streamforge.system import free_ports, is_free


def test_they_are_free_and_nobody_gets_them_by_chance_meanwhile():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < first, "from there on the kernel hands them out for outgoing connections"
