"""Each exception code has words of its own, with what to do."""

from __future__ import annotations

from protocols.modbus.messages import exception_words


def test_every_code_of_the_standard_has_its_own_words():
    words = {code: exception_words(code) for code in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)}
    assert len({text.partition(", ")[2] for text in words.values()}) == len(words)
    assert all(text.startswith(f"exception {code}, ") for code, text in words.items())
    assert not any("does not know" in text for text in words.values())


def test_a_code_of_the_vendors_own_is_named_by_its_number():
    assert {exception_words(code).partition(",")[0] for code in (0, 9, 0x99)} == {
        "exception 0",
        "exception 9",
        "exception 153",
    }
    assert "manual of the device" in exception_words(9)
