"""Shapes shared by every room: Avro schemas, configuration models, and the columns a batch of readings travels in."""
