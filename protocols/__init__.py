"""Protocols, one folder each. The table is text: naming a protocol imports nothing until it is used."""

ADAPTERS = {
    "modbus_tcp": "protocols.modbus.adapter:ModbusTcpAdapter",
    "opcua": "protocols.opcua.adapter:OpcUaAdapter",
    "mqtt": "protocols.mqtt.adapter:MqttAdapter",
}
CONFIGS = {
    "modbus_tcp": "protocols.modbus.config:ModbusTcpConfig",
    "opcua": "protocols.opcua.config:OpcUaConfig",
    "mqtt": "protocols.mqtt.config:MqttConfig",
}
