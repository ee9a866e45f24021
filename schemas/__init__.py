"""Shapes shared by every room: Avro schemas, configuration models, and the columns a batch of readings travels in."""

VERSION = "0.1.0"
"""Of the gateway; pyproject.toml says the same, held by a test."""
