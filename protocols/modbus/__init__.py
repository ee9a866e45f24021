"""Modbus: reading devices by the four tables of the protocol. `modbus_tcp` is the one transport so far."""
