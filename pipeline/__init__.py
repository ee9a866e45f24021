"""Pure rules: `(state, records) -> (state, outputs)`. No I/O, no clock, no Kafka; see contract.py."""
