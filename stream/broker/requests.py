"""Admin requests that aiokafka lacks, as its structs: which transactions the coordinator knows, which are open in the partitions, and the
marker that ends one. Fields as in the Kafka protocol guide; every version here is the flexible one that Kafka 3.0 to 4.3 have.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

TAGS: dict[int, bytes] = {}
_text = CompactString("utf-8")


def _partitions_of_topics(topic_field: str) -> Any:
    return CompactArray((topic_field, _text), ("partitions", CompactArray(Int32)), ("tags", TaggedFields))


class DescribeProducersResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", CompactArray(
            ("name", _text),
            ("partitions", CompactArray(
                ("partition", Int32),
                ("error_code", Int16),
                ("error_message", _text),
                ("producers", CompactArray(
                    ("producer_id", Int64),
                    ("producer_epoch", Int32),
                    ("last_sequence", Int32),
                    ("last_timestamp", Int64),
                    ("coordinator_epoch", Int32),
                    ("start_offset", Int64),
                    ("tags", TaggedFields),
                )),
                ("tags", TaggedFields),
            )),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class DescribeProducers(RequestStruct):  # type: ignore[misc]
    """Who writes to these partitions; `start_offset` is where an open transaction began, -1 without one."""

    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeProducersResponse
    SCHEMA = Schema(("topics", _partitions_of_topics("name")), ("tags", TaggedFields))


class ListTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 66
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(_text)),
        ("transactions", CompactArray(
            ("transactional_id", _text),
            ("producer_id", Int64),
            ("state", _text),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class ListTransactions(RequestStruct):  # type: ignore[misc]
    API_KEY = 66
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ListTransactionsResponse
    SCHEMA = Schema(
        ("state_filters", CompactArray(_text)), ("producer_id_filters", CompactArray(Int64)), ("tags", TaggedFields)
    )


class DescribeTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("transactions", CompactArray(
            ("error_code", Int16),
            ("transactional_id", _text),
            ("state", _text),
            ("timeout_ms", Int32),
            ("started_ms", Int64),
            ("producer_id", Int64),
            ("producer_epoch", Int16),
            ("topics", _partitions_of_topics("topic")),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class DescribeTransactions(RequestStruct):  # type: ignore[misc]
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeTransactionsResponse
    SCHEMA = Schema(("transactional_ids", CompactArray(_text)), ("tags", TaggedFields))


class WriteTxnMarkersResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 27
    API_VERSION = 1
    SCHEMA = Schema(
        ("markers", CompactArray(
            ("producer_id", Int64),
            ("topics", CompactArray(
                ("name", _text),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            )),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class WriteTxnMarkers(RequestStruct):  # type: ignore[misc]
    """End one producer's transaction in these partitions; normally only the coordinator says this."""

    API_KEY = 27
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = WriteTxnMarkersResponse
    SCHEMA = Schema(
        ("markers", CompactArray(
            ("producer_id", Int64),
            ("producer_epoch", Int16),
            ("committed", Boolean),
            ("topics", _partitions_of_topics("name")),
            ("coordinator_epoch", Int32),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip
