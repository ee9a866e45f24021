"""What Kafka's client raises, in the words of this product: which broker or topic, what was wrong, what would be right.

The one place for it: whoever tells a reason takes `said`. Not responsible for what is done about it, or for answers to the questions we
ask without aiokafka (broker/wire.py).
"""

from __future__ import annotations

import re

from aiokafka import errors as kafka

_ADDRESS = re.compile(r"\('([^']+)', (\d+)")
"""One of aiokafka's list of brokers: ('127.0.0.1', 9092, <AddressFamily.AF_INET: 2>)."""
_HOST_PORT = re.compile(r"([^\s:]+|\[[^\]]+\]):(\d+)")
_NODE = re.compile(r"node id (-?\w+)")

_TAKEN_OVER = "a newer producer with the same name has taken over, or its transaction took too long; right would be one such worker only"
_NO_LEADER = (
    "a partition has no leader just now; the brokers choose one by themselves, right would be that all of them run"
)
_NOT_READY = "the broker is not ready to keep offsets and transactions yet; it goes on by itself once it has started"
_FORBIDDEN = "the right to do this is missing; docs/configuration.md names the rights a cluster must give"

_SENTENCES: dict[type[kafka.KafkaError], str] = {
    kafka.RequestTimedOutError: "the broker did not answer a request in time",
    kafka.KafkaTimeoutError: "the broker took no records in time",
    kafka.ProducerFenced: _TAKEN_OVER,
    kafka.InvalidProducerEpoch: _TAKEN_OVER,
    kafka.NotLeaderForPartitionError: _NO_LEADER,
    kafka.LeaderNotAvailableError: _NO_LEADER,
    kafka.GroupCoordinatorNotAvailableError: _NOT_READY,
    kafka.NotCoordinatorForGroupError: _NOT_READY,
    kafka.GroupLoadInProgressError: _NOT_READY,
    kafka.UnknownTopicOrPartitionError: "a topic or partition is not there; right would be the topics as the gateway makes them",
    kafka.NotEnoughReplicasError: "fewer copies are in step than the topic's min.insync.replicas asks for; right would be that all brokers run",
    kafka.NotEnoughReplicasAfterAppendError: "fewer copies are in step than the topic's min.insync.replicas asks for; right would be that all brokers run",
    kafka.MessageSizeTooLargeError: "a batch of records is larger than the topic takes; right would be a larger max.message.bytes there",
    kafka.KafkaStorageError: "the broker cannot use its disk; right would be room and a disk without errors there",
    kafka.TopicAuthorizationFailedError: _FORBIDDEN,
    kafka.GroupAuthorizationFailedError: _FORBIDDEN,
    kafka.ClusterAuthorizationFailedError: _FORBIDDEN,
    kafka.TransactionalIdAuthorizationFailed: _FORBIDDEN,
}


def said(wrong: BaseException) -> str:
    """One error as a clause that begins small; what nobody has words for yet keeps its kind."""
    if isinstance(wrong, kafka.NodeNotReadyError):
        return _no_way_to(str(wrong))
    if isinstance(wrong, kafka.KafkaConnectionError):
        return _connection(_own_words(wrong))
    if type(wrong) in _SENTENCES:
        return _SENTENCES[type(wrong)] + _about(wrong)
    if isinstance(wrong, kafka.BrokerResponseError):
        described = " ".join(wrong.description.split()).rstrip(".") or type(wrong).__name__
        return f"Kafka refused it with error {wrong.errno} ({described}){_about(wrong)}"
    if isinstance(wrong, kafka.KafkaError):
        cause = wrong.__cause__
        words = _own_words(wrong) or type(wrong).__name__
        return f"{words} ({said(cause)})" if cause is not None else words
    return f"{type(wrong).__name__} {wrong}".rstrip()


def _own_words(wrong: BaseException) -> str:
    return " ".join(str(one) for one in wrong.args).strip()


def _about(wrong: BaseException) -> str:
    """What the error names: a topic, a partition, a group."""
    words = _own_words(wrong)
    found = re.fullmatch(r"TopicPartition\(topic='(.+)', partition=(\d+)\)", words)
    return f": {found[1]}/{found[2]}" if found else f": {words}" if words else ""


def _connection(words: str) -> str:
    if brokers := _ADDRESS.findall(words):
        places = ", ".join(f"{host}:{port}" for host, port in brokers)
        return f"no Kafka broker answers at {places}; right would be one that runs there and takes plain connections"
    if (place := _HOST_PORT.search(words)) is None:
        return words or "the connection to the broker was lost"
    broker, _, cause = words.partition(" broken: ")
    if cause:
        return f"the connection to the broker at {place[0]} broke: {cause}"
    lost = "closed" in broker
    return (
        f"the broker at {place[0]} closed the connection"
        if lost
        else f"there is no connection to the broker at {place[0]}"
    )


def _no_way_to(words: str) -> str:
    node = _NODE.search(words)
    which = f"broker {node[1]}" if node else "a broker of the cluster"
    return f"{which} cannot be reached at the address that it names; right would be one that runs and is reached there"
