"""MQTT 3.1.1 and 5: README.md says what it does. Others use `adapter.MqttAdapter` and `config.MqttConfig`."""
