"""Fixtures shared by all tests live in tests/kit, one file each; this is their list."""

from hypothesis import settings

# Hypothesis' deadline of 0.2 s for an example measures how busy the machine is.
settings.register_profile("streamforge", deadline=None)
settings.load_profile("streamforge")

pytest_plugins: list[str] = [
    "tests.kit.postgres",
    "tests.kit.kafka",
    "tests.kit.stage_broker",
    "tests.kit.mosquitto",
    "tests.kit.pages",
    "tests.kit.sink_bench",
]
