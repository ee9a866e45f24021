"""The MQTT adapter's settings: what is refused with which words, and what the defaults make of the rest."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from protocols.mqtt.config import MqttConfig
from protocols.mqtt.mapping import Mapper

RAW = {"topic": "a/+", "mapping": "raw", "asset": "x", "points": [{"parameter": "p", "type": "number"}]}
DOCUMENT = {"topic": "a/+", "mapping": "json", "asset": "x", "points": [{"path": "$.s[*].v", "parameter": "p"}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subscriptions": []}, "at least 1"),
        ({"subscriptions": [RAW, {**DOCUMENT, "topic": "a/b"}]}, "shares topics"),
        ({"subscriptions": [{**RAW, "asset": "{topic[2]}"}]}, "levels 0 to 1"),
        ({"subscriptions": [{**RAW, "topic": "a/#", "asset": "{topic[1]}"}]}, "levels 0 to 0"),
        ({"subscriptions": [{**RAW, "asset": "{$.x}"}]}, "mapping: json"),
        ({"subscriptions": [{**RAW, "asset": None}]}, "asset: is missing"),
        ({"subscriptions": [{**RAW, "points": [{"parameter": "p", "type": "number", "at": 3}]}]}, "type of bytes"),
        ({"subscriptions": [{**RAW, "points": [{"parameter": "p", "type": "string", "scale": 3}]}]}, "has none"),
        ({"subscriptions": [{**RAW, "points": [{"parameter": "{key}", "type": "string"}]}]}, "parameters: all"),
        ({"subscriptions": [{**RAW, "qos": 3}]}, "less than or equal to 2"),
        ({"subscriptions": [{**DOCUMENT, "time": {"path": "$.x[*].t"}}]}, "same beginning"),
        ({"subscriptions": [{**DOCUMENT, "time": {"path": "$.t", "zone": "Mars/Olympus"}}]}, "no time zone"),
        ({"subscriptions": [{**DOCUMENT, "points": []}]}, "takes nothing"),
        ({"subscriptions": [{**DOCUMENT, "asset": None, "points": [], "parameters": "all"}]}, "needs one"),
        ({"subscriptions": [{**DOCUMENT, "colour": "red"}]}, "Extra inputs"),
        ({"subscriptions": [{**RAW, "points": RAW["points"] * 2}]}, "p is there already"),
        ({"password": "x"}, "without user"),
        ({"tls": {"key": "k.pem"}}, "without cert"),
        ({"version": "3.1"}, "3.1.1"),
        ({"keepalive": 10}, "has no unit"),
        ({"max_payload": "1 GiB"}, "less than or equal"),
    ],
)
def test_wrong_settings_are_named_with_what_would_be_right(changes, said):
    with pytest.raises(ValidationError, match=said):
        MqttConfig.model_validate({"id": "x", "protocol": "mqtt", "host": "h", "subscriptions": [RAW], **changes})


def test_defaults_and_the_subscriptions_asset_reach_the_points():
    config = MqttConfig.model_validate(
        {
            "id": "x",
            "protocol": "mqtt",
            "host": "h",
            "version": 5,
            "defaults": {"asset": "far", "unit": "celsius", "byte_order": "little"},
            "subscriptions": [
                DOCUMENT,
                {"topic": "b", "mapping": "raw", "points": [{"parameter": "p", "type": "int16", "unit": "bar"}]},
            ],
        }
    )
    first, second = (one.points[0] for one in config.subscriptions)
    assert (first.asset, first.unit) == ("x", "celsius")
    assert (second.asset, second.unit, second.byte_order) == ("far", "bar", "little")


def test_the_password_is_in_no_text_of_the_configuration():
    config = MqttConfig.model_validate(
        {"id": "x", "protocol": "mqtt", "host": "h", "user": "u", "password": "hush", "subscriptions": [RAW]}
    )
    assert "hush" not in repr(config) + config.model_dump_json()
    assert isinstance(Mapper(config), Mapper)
