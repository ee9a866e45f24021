"""From JSON to an adapter: the gateway's directory for certificates."""

from __future__ import annotations

import pytest

from protocols.load import placed


@pytest.mark.parametrize(
    ("given", "becomes"),
    [(None, "/data/certs/opcua"), ("certs/other", "/data/certs/other"), ("/elsewhere", "/elsewhere")],
)
def test_certificates_live_in_the_data_directory(given, becomes):
    config = {"protocol": "opcua", "certs_dir": given}
    assert placed(config, "/data")["certs_dir"] == becomes


def test_what_outlives_a_process_lives_in_the_data_directory():
    assert placed({"protocol": "opcua"}, "/data")["state_dir"] == "/data/state/opcua"


@pytest.mark.parametrize("protocol", ["modbus_tcp", "no_such_protocol"])
def test_a_protocol_without_certificates_is_left_alone(protocol):
    assert placed({"protocol": protocol}, "/data") == {"protocol": protocol}
