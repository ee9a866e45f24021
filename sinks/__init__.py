"""Destinations, one folder each. The table is text: naming a sink imports nothing until it is used."""

SINKS = {"postgres": "sinks.postgres.sink:PostgresSink"}
CONFIGS = {"postgres": "sinks.postgres.config:PostgresConfig"}
