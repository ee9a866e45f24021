"""What to do about each trouble with a Modbus device, as somebody who commissions it would."""

from __future__ import annotations

from typing import Final

from protocols.advice import Steps

STEPS: Final[Steps] = (
    (
        "refused the connection",
        ("see that the device is on and its Modbus server is enabled there (many come with it off, or let in listed addresses only), and "
        "that `port` is right ({port} here; 502 is usual)"),
    ),
    (
        "the name is not known",
        "write the device's address into `host`, or enter the name at this machine's name server; `getent hosts {host}` shows what it knows",
    ),
    (
        "did not take the connection in time",
        "try `ping {host}` on the gateway: without an answer it is the address, the cable or the route; with one, a firewall between or `port`",
    ),
    (": no connection (", "look at this machine's own network: its address, its netmask and the route to {host} (`ip route get {host}`)"),
    (
        "before it answered anything",
        "end another master that has the device's only connection, or enter this gateway among the addresses that the device lets in",
    ),
    (
        " is off or has another unit id",
        "see at the serial gateway whether the unit behind it is on, and which number, baud rate and parity it has; compare the number with `unit`",
    ),
    (
        " requests;",
        ("try another `unit`: a device alone on its address often wants 1, 255 or 0, one behind a serial gateway the number set at the device; "
        "then look at the wiring and the line settings (baud rate, parity) of the serial gateway"),
    ),
    ("which was not asked", "set `transaction: ignored` at this adapter if that comes each time; if only now and then, let one master alone use the gateway device"),
    ("answered for unit", "set `unit` to the one that answered if the device is alone on its address; else let one master alone use the serial gateway"),
    (
        "Modbus/TCP",
        "see what listens on {host}:{port}: another protocol, or RTU over TCP; switch the device or its serial gateway to Modbus/TCP",
    ),
    ("more than its answer", "look for newer firmware of the device or its gateway, and let only one master use it"),
    ("closed the connection", "if it comes again: end other masters of this device, look at the line to it, and whether it restarts"),
    (
        "no other is read here",
        ("see what listens on {host}:{port}; if it is the device, try another `unit`: one alone on its address often wants 1, 255 or 0, one behind a serial gateway "
        "the number set at the device; then look at the wiring and the line settings (baud rate, parity) of the serial gateway"),
    ),
    (
        " tried rarely",
        "see whether that unit is on, and compare its number with `unit`; behind a serial gateway look at its wiring. The other units are read meanwhile",
    ),
    ("right would be response_timeout", "set `response_timeout` to what is named here, and start the gateway again"),
    (
        "illegal data address",
        ("compare address and type with the device's list of registers: most often the address is one off (40101 counts from 1, "
        "table: holding, address: 100 from 0) or the type is longer than the register; correct the gateway file and start the gateway again. Some say so of a unit id they do not have"),
    ),
    ("illegal function", "compare the table with the device's list of registers: holding (4xxxx) and input (3xxxx) are often mixed up; correct the gateway file and start the gateway again"),
    ("illegal data value", "lower `registers_max` at this adapter if other points of the device are read well; else compare address and type with its list of registers"),
    ("gateway path unavailable", "look at the serial gateway's own settings: it has no line for this unit"),
    ("device busy", "make `every` longer, or set `delay`; look whether another master polls the device too"),
    (
        "device failure",
        "look at the device: it answers that it cannot give this now, as with a controller in STOP, a fault, or (some simulators) a unit id it has not",
    ),
    (
        "does not keep to the protocol",
        "compare address and type with the device's list of registers: beyond its end some answer with what is left, or with nothing; if long answers are cut, lower `registers_max`",
    ),
    (
        "the device sent",
        "see whether the sensor is there and whole; if it is, compare `type`, `byte_order` and `word_order` with the device's list of registers",
    ),
    ("though the unit answers others", "compare address and type with the device's list of registers: it keeps silent about what it does not have"),
)  # fmt: skip
