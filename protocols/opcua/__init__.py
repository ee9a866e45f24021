"""OPC UA client: subscriptions and polled reads of one server (README.md)."""
