"""An error is named once, Kafka's own and others."""

from aiokafka.errors import KafkaConnectionError

from stream.producer import said


def test_no_error_is_named_twice():
    assert said(KafkaConnectionError("no broker")) == "KafkaConnectionError: no broker"
    assert said(OSError("reset")) == "OSError reset"
