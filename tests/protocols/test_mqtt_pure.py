"""The pure parts of the MQTT adapter: topic filters, JSON paths, names, values, and the mapping under any payload."""

from __future__ import annotations

import json
import math
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from protocols.mqtt import names, paths, values
from protocols.mqtt.filters import matches, overlap, split_filter
from protocols.mqtt.mapping import KEPT, Message
from schemas.records import Quality
from tests.protocols.mqtt_lines import ARRIVED, mapper

LEVEL = st.sampled_from(["a", "b", "", "$SYS"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, rest: "/".join(levels + rest),
    st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "t", "s", "v"]) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(FILTER, TOPIC)
def test_a_filter_matches_what_paho_says(wanted, topic):
    assert matches(split_filter(wanted), topic.split("/")) == topic_matches_sub(wanted, topic)


@settings(max_examples=500, deadline=None)
@given(FILTER, FILTER, TOPIC)
def test_filters_that_share_a_topic_overlap(one, other, topic):
    both = matches(split_filter(one), topic.split("/")) and matches(split_filter(other), topic.split("/"))
    assert overlap(split_filter(one), split_filter(other)) or not both


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("a/+", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("+/b", "a/+", True),
        ("a/+", "a/b/c", False),
        ("a/b", "a/c", False),
        ("#", "$SYS/x", False),
        ("$share/g/a/+", "a/b", True),
        ("a/+/c", "a/b/#", True),
        ("a", "a/+", False),
    ],
)
def test_overlap(one, other, shared):
    assert overlap(split_filter(one), split_filter(other)) is shared
    assert overlap(split_filter(other), split_filter(one)) is shared


@pytest.mark.parametrize("wrong", ["", "a/#/b", "a#", "a/b+", "$share/g", "$share//a", "a\0"])
def test_a_wrong_filter_is_refused(wrong):
    with pytest.raises(ValueError, match=r"right would be|stands"):
        split_filter(wrong)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [((), {"a": [{"v": 1}, {"v": 2}, {}], "b c": {"d": None}, "e": [[1, 2], [3]]})]),
        ("$.a[0].v", [((), 1)]),
        ("$.a[-1]", [((), {})]),
        ("$.a[*].v", [((0,), 1), ((1,), 2), ((2,), paths.MISSING)]),
        ("$['b c'].d", [((), None)]),
        ('$["b c"].d.x', [((), paths.MISSING)]),
        ("$.e[*][*]", [((0, 0), 1), ((0, 1), 2), ((1, 0), 3)]),
        ("$.a[7]", [((), paths.MISSING)]),
        ("$.a.v", [((), paths.MISSING)]),
        ("$.none[*]", [((), paths.MISSING)]),
    ],
)
def test_paths_find(path, found):
    document = {"a": [{"v": 1}, {"v": 2}, {}], "b c": {"d": None}, "e": [[1, 2], [3]]}
    assert list(paths.find(document, paths.parse(path))) == found


@settings(deadline=None)
@given(JSON, st.sampled_from(["$.a", "$.a[*].v", "$.s[*].v[*]", "$[*]", "$.t[0]", "$.s[-1].a"]))
def test_what_is_found_is_there_again_at_its_indices(document, text):
    path = paths.parse(text)
    for indices, value in paths.find(document, path):
        if len(indices) == path.each:
            assert paths.at(document, path, indices) is value


@pytest.mark.parametrize("wrong", ["", "temp", "$.", "$..a", "$[", "$[1:2]", "$.a[?(@.x)]", "$['", "$ .a"])
def test_a_wrong_path_is_refused_with_the_right_way(wrong):
    with pytest.raises(ValueError, match="right would be"):
        paths.parse(wrong)


def test_names():
    template = names.parse("line_{topic[1]}_{$.id}-{key}")
    assert template.render("a/b", ["a", "b"], {"id": 7}, (), "k") == "line_b_7-k"
    assert names.parse("{topic}").render("a/b", ["a", "b"]) == "a/b"
    for wrong in ("{topic[x]}", "{", "a}b", "{foo}", "{$..x}"):
        with pytest.raises(ValueError, match="right would be"):
            names.parse(wrong)
    for document in ({}, {"id": True}, {"id": 1.5}, {"id": "x\ny"}, {"id": "\ud800"}, {"id": "x" * 300}):
        with pytest.raises(names.Unnamed):
            template.render("a/b", ["a", "b"], document)


@settings(deadline=None)
@given(
    st.integers() | st.floats() | st.text() | st.booleans() | st.none(),
    st.sampled_from([None, "number", "integer", "boolean", "string"]),
)
def test_a_json_value_is_kept_exactly_or_refused(value, kind):
    try:
        got = values.from_json(value, kind)
    except values.Unfit:
        return
    if isinstance(value, str) and kind in {"number", "integer"}:
        value = type(got)(value)
    elif kind == "boolean":
        value = (
            value
            if isinstance(value, bool)
            else {"true": True, "on": True, "yes": True, "1": True}.get(str(value).lower().removesuffix(".0"), False)
        )
    assert got == value
    assert not isinstance(got, float) or math.isfinite(got)
    assert not isinstance(got, int) or -(2**63) <= got < 2**63


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0])
def test_whole_numbers_stay_exact(number):
    assert values.from_json(number, None) == number
    assert values.from_json(number, "integer") == number


def anything():
    """A mapper that uses every feature, so that any payload meets all of them."""
    return mapper(
        [
            {
                "topic": "json/+",
                "mapping": "json",
                "asset": "{topic[1]}",
                "parameters": "all",
                "time": {"path": "$.t", "zone": "Europe/Berlin"},
                "points": [
                    {"path": "$.a", "parameter": "a", "scale": 2},
                    {"path": "$.b[0]", "parameter": "b", "type": "integer", "optional": True},
                    {"path": "$.s[*].v", "parameter": "{$.s[*].n}"},
                    {"path": "$.v", "asset": "{$.t}", "parameter": "v", "type": "boolean"},
                ],
            },
            {
                "topic": "samples",
                "mapping": "json",
                "asset": "x",
                "time": {"path": "$.s[*].t", "format": "ns"},
                "points": [{"path": "$.s[*].v", "parameter": "v"}],
            },
            *(
                {"topic": f"raw/{kind}", "mapping": "raw", "asset": "x", "points": [{"parameter": "p", "type": kind}]}
                for kind in ("string", "number", "integer", "boolean", "uint16", "float32", "float64", "int64")
            ),
        ],
        max_payload=1000,
        max_points=50,
    )


TOPICS = [
    "json/a",
    "json/",
    "samples",
    *(f"raw/{kind}" for kind in ("string", "number", "integer", "boolean", "uint16", "float32", "float64", "int64")),
]
PAYLOADS = (
    st.binary(max_size=30)
    | JSON.map(lambda document: json.dumps(document).encode())
    | st.text(string.printable, max_size=12).map(str.encode)
)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from([topic.encode() for topic in TOPICS]) | st.binary(min_size=1, max_size=8),
    PAYLOADS,
    st.booleans(),
    st.booleans(),
)
def test_any_payload_becomes_readings_or_rejects_and_never_an_error(topic, payload, retain, dup):
    mapped = anything().map(Message(topic, payload, ARRIVED, len(payload), 1, retain, dup))
    for reading in mapped.readings:
        assert reading.status == Quality.GOOD or reading.reason
        assert reading.value is not None or reading.status == Quality.BAD
        (reading.point.asset + reading.point.parameter + str(reading.value)).encode()
        assert not isinstance(reading.value, float) or math.isfinite(reading.value)
    for reject in mapped.rejects:
        assert reject.rule
        assert reject.reason.isprintable() or reject.reason
        reject.reason.encode()
        assert reject.payload == payload[:KEPT]
    assert len({reject.rule for reject in mapped.rejects}) == len(mapped.rejects)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff" * 500,
        b'"' + b"x" * 200_000 + b'"',
    ],
)
def test_hostile_documents_are_rejects(payload):
    one = mapper([{"topic": "t", "mapping": "json", "asset": "x", "points": [{"path": "$.a", "parameter": "a"}]}])
    mapped = one.map(Message(b"t", payload, ARRIVED, len(payload)))
    assert not mapped.readings
    assert len(mapped.rejects) == 1
    assert len(mapped.rejects[0].reason) < 1000


def test_points_grow_as_topics_are_seen_up_to_the_limit():
    one = mapper(
        [{"topic": "p/+", "mapping": "raw", "asset": "x", "points": [{"parameter": "{topic[1]}", "type": "string"}]}],
        max_points=3,
    )
    rejects = [one.map(Message(f"p/{n}".encode(), b"v", ARRIVED, 1)).rejects for n in range(5)]
    assert [point.parameter for point in one.points()] == ["0", "1", "2"]
    assert [bool(found) for found in rejects] == [False, False, False, True, True]
    assert rejects[4][0].rule == "too_many_points"


def test_points_with_fixed_names_are_known_before_anything_came():
    point = {"path": "$.a", "parameter": "a"}
    one = mapper(
        [{"topic": "p/+", "mapping": "json", "asset": "{topic[1]}", "points": [point, {**point, "asset": "fixed"}]}]
    )
    assert [known.asset for known in one.points()] == ["fixed"]
