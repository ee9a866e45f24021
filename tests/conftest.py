"""Fixtures shared by all tests live in tests/kit, one file each; this is their list."""

pytest_plugins: list[str] = [
    "tests.kit.postgres",
    "tests.kit.kafka",
    "tests.kit.stage_broker",
    "tests.kit.mosquitto",
    "tests.kit.pages",
]
