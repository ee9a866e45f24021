"""The tree of one gateway: what runs, under whom, in which order. The list is the start order and, backwards, the drain plan."""

from __future__ import annotations

from typing import Any

from protocols import ADAPTERS
from schemas.gateway import Gateway, SupervisionConfig
from sinks import SINKS
from supervisors.spec import Child, Restart, Strategy, WhenExhausted, supervisor, worker

PERSON_S = 365 * 86_400.0
"""A full disk, a cluster of somebody else, topics that a person must put right: they are waited for, and a kill would help nobody."""


def tree(gateway: Gateway, rules: list[dict[str, Any]], common: dict[str, Any]) -> Child:
    """The supervision tree for one configuration.

    `rules` are the file's rules and those of its points, as JSON; `common` is what every worker is told: gateway_id, data_dir,
    bootstrap, config_version, partitions, durability.
    """
    limits = _limits(gateway.supervision)
    critical = {"when_exhausted": WhenExhausted.ESCALATE, **limits}
    alone = {"when_exhausted": WhenExhausted.PARK, **limits}
    stream = {**common, "stream": gateway.stream.model_dump(mode="json")}
    return supervisor(
        "streamforge", Strategy.ONE,
        # First to start and last to stop: a gateway whose stream does not come up can still say why.
        supervisor(
            "control_path", Strategy.ONE,
            worker("api", "control.server:LocalApi", {**common, **_api(gateway)}, **alone),
            **limits,
        ),
        # What is below needs topics, topics need the broker.
        supervisor(
            "stream", Strategy.REST,
            worker("broker", "actors.broker:BrokerActor", stream,
                   start_within_s=PERSON_S, stop_within_s=30.0, **critical),
            worker("topics", "actors.topics:TopicsActor", stream, restart=Restart.TRANSIENT,
                   start_within_s=PERSON_S, **critical),
            **limits,
        ),
        supervisor(
            "data_path", Strategy.ONE,
            supervisor("processing", Strategy.ONE, *_stages(gateway, rules, common, critical), **limits),
            supervisor("sinks", Strategy.ONE, *_sinks(gateway, common, alone), **limits),
            # Last to start, first to stop: what is read must have somewhere to go.
            supervisor("adapters", Strategy.ONE, *_adapters(gateway, common, alone), **limits),
            **limits,
        ),
        **limits,
    )  # fmt: skip


def _limits(given: SupervisionConfig) -> dict[str, Any]:
    return {
        "restarts_max": given.restarts_max,
        "restarts_window_s": given.restarts_window,
        "heartbeat_s": given.heartbeat,
        "backoff_first_s": given.backoff_first,
        "backoff_most_s": given.backoff_most,
    }


def _api(gateway: Gateway) -> dict[str, Any]:
    return {"api": gateway.api.model_dump(mode="json"), "gateway": gateway.gateway.model_dump(mode="json")}


def _stages(
    gateway: Gateway, rules: list[dict[str, Any]], common: dict[str, Any], limits: dict[str, Any]
) -> list[Child]:
    shared = {
        **common,
        "processing": gateway.processing.model_dump(mode="json"),
        "rules": rules,
        "aggregates": list(gateway.aggregates),
    }
    counts = {
        "validator": gateway.processing.validators,
        "aggregator": gateway.processing.aggregators if gateway.aggregates else 0,
    }
    return [
        worker(
            f"{stage}-{i}",
            "actors.processor:ProcessorActor",
            {**shared, "stage": stage, "worker": i, "workers": count},
            imports=(f"pipeline.{stage}",),
            **limits,
        )
        for stage, count in counts.items()
        for i in range(count)
    ]


def _sinks(gateway: Gateway, common: dict[str, Any], limits: dict[str, Any]) -> list[Child]:
    return [
        worker(
            sink["id"],
            "actors.sink:SinkActor",
            {**common, "sink": sink},
            imports=(_module(SINKS[sink["type"]]),),
            **limits,
        )
        for sink in gateway.sinks
        if sink.get("enabled", True)
    ]


def _adapters(gateway: Gateway, common: dict[str, Any], limits: dict[str, Any]) -> list[Child]:
    return [
        worker(
            adapter["id"],
            "actors.adapter:AdapterActor",
            {**common, "adapter": adapter},
            imports=(_module(ADAPTERS[adapter["protocol"]]),),
            **limits,
        )
        for adapter in gateway.adapters
        if adapter.get("enabled", True)
    ]


def _module(path: str) -> str:
    """Of a `module:Class`."""
    return path.partition(":")[0]
