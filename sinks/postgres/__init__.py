"""PostgreSQL as a destination. `sink.PostgresSink` is what others use; README.md says what it makes there and why."""
