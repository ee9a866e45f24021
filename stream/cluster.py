"""Which Kafka cluster this is. Offsets mean something in one cluster only; a stream made anew has another id."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.producer import StreamLost
from stream.words import said


async def cluster_id(bootstrap: str, client_id: str, within_s: float = 10) -> str:
    """The id the cluster was formatted with. Raises StreamLost."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id=client_id)
    try:
        async with asyncio.timeout(within_s):
            await admin.start()
            described = await admin.describe_cluster()
    except TimeoutError as late:
        raise StreamLost(f"the local stream did not name its id within {within_s:g} s") from late
    except (KafkaError, OSError) as wrong:
        raise StreamLost(f"the local stream could not name its id: {said(wrong)}") from wrong
    finally:
        with suppress(Exception):
            async with asyncio.timeout(2):
                await admin.close()
    return str(described["cluster_id"])
