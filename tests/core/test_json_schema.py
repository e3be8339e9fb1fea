"""JSON schemas of callers: what is read, what is refused with its place, and nothing that hangs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chatspot_ros.core.json_schema import KEYWORDS, MAX_CHARS, read_schema
from chatspot_ros.errors import RequestError

DOOR = {"type": "object", "properties": {"door": {"enum": ["open", "closed"]}},
        "required": ["door"]}  # fmt: skip


def refused(schema: Any) -> str:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    began_s = time.perf_counter()
    with pytest.raises(RequestError) as caught:
        read_schema(text)
    assert time.perf_counter() - began_s < 2
    assert caught.value.remedy
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_a_schema_is_read_and_an_answer_checked() -> None:
    schema = read_schema(json.dumps(DOOR))
    assert schema.fault('{"door": "open"}') == ""
    assert "ajar" in schema.fault('{"door": "ajar"}')
    for bad in ("", "open", '{"door": "open"', '{"door": "open", "door": "closed"}', "NaN",
                "[" * 100_000, '{"door": "open", "n": 1}', "{}"):  # fmt: skip
        assert schema.fault(bad), bad


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ("{", "no JSON"), ("", "no JSON"), ("nul", "no JSON"), ('{"type": NaN}', "no JSON"),
        ("[" * MAX_CHARS, "no JSON"), ('{"a":' * 3000, "no JSON"),
        ('{"type": "null", "type": "string"}', "comes twice"),
        (" " * (MAX_CHARS + 1), "longer than 16384"),
        ([], "at #:"), ("3", "at #:"), ('"string"', "at #:"), ("true", "at #:"),
        ({}, "at #: it allows everything"),
        ({"type": "strange"}, "at #/type"), ({"type": []}, "at #/type"),
        ({"type": [[1]]}, "#/type"),
        ({"type": {"a": 1}}, "at #/type"), ({"type": ["null", "null"]}, "at #/type"),
        ({"type": ["integer", "number"]}, "at #/type"),
        ({"type": "object"}, "at #/properties"), ({"type": "object", "properties": []}, "#/prop"),
        ({"type": "object", "properties": {"a": True}}, "at #/properties/a"),
        ({"type": "object", "properties": {"a/b~c": 1}}, "at #/properties/a~1b~0c"),
        ({**DOOR, "required": ["window"]}, "at #/required"), ({**DOOR, "required": 3}, "#/req"),
        ({**DOOR, "required": ["door", "door"]}, "at #/required"),
        ({**DOOR, "additionalProperties": True}, "at #/additionalProperties"),
        ({**DOOR, "additionalProperties": {"type": "null"}}, "at #/additionalProperties"),
        ({"type": "array"}, "at #/items"), ({"type": "array", "items": [{"type": "null"}]}, "#/it"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 65}, "at #/maxItems"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 3, "maxItems": 2}, "#/minItems"),
        ({"type": "string", "minLength": -1}, "at #/minLength"),
        ({"type": "string", "maxLength": 1.0}, "at #/maxLength"),
        ({"type": "string", "maxLength": 10**9}, "at #/maxLength"),
        ({"type": "integer", "minimum": 2.5}, "at #/minimum"),
        ({"type": "integer", "minimum": True}, "at #/minimum"),
        ({"type": "integer", "maximum": 10**30}, "at #/maximum"),
        ({"type": "number", "maximum": "3"}, "at #/maximum"),
        ('{"type": "number", "maximum": 1e999}', "at #/maximum"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no number lies between"),
        ({"type": "integer", "exclusiveMinimum": 5, "maximum": 5}, "no number lies between"),
        ({"type": "number", "exclusiveMinimum": 5, "maximum": 5}, "no number lies between"),
        ({"enum": []}, "at #/enum"), ({"enum": [1, 1]}, "at #/enum"), ({"enum": "a"}, "at #/enum"),
        ({"enum": [{"a": 1}]}, "at #/enum/0"), ({"enum": ["a", ["b"]]}, "at #/enum/1"),
        ({"enum": ["a\nb"]}, "at #/enum/0"), ({"enum": ["a" * 201]}, "at #/enum/0"),
        ({"enum": list(range(257))}, "at #/enum"), ({"const": 1e16}, "at #/const"),
        ({"enum": ["a", 3], "type": "string"}, "at #/enum/1"),
        ({"const": {"a": 1}}, "at #/const"),
        ({"anyOf": []}, "at #/anyOf"), ({"anyOf": [{"type": "null"}, {}]}, "at #/anyOf/1"),
        ({"type": "integer", "anyOf": [{"type": "null"}]}, "at #/"),
        ({"$ref": "#"}, "at #/$ref"), ({"$ref": "http://example.org/a.json"}, "at #/$ref"),
        ({"$ref": "file:///etc/passwd"}, "at #/$ref"), ({"$ref": 3}, "at #/$ref"),
        ({"$ref": "#/$defs/a"}, "at #/$ref"), ({"$defs": []}, "at #/$defs"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "refers to itself"),
        ({"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/b"}},
                    "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "type": "null"}, "itself"),
        ({"type": "null", "title": 3}, "at #/title"), ({"type": "null", "$schema": "x"}, "$schema"),
        ({"type": "null", "$schema": 3}, "at #/$schema"),
        ({"type": "object", "properties": {"a\x00": {"type": "null"}}}, "at #/properties/"),
        ({"type": "object", "properties": {"a" * 101: {"type": "null"}}}, "at #/properties/"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(schema: Any, place: str) -> None:
    assert place in refused(schema)


@pytest.mark.parametrize(
    "keyword",
    ["pattern", "format", "uniqueItems", "multipleOf", "oneOf", "allOf", "not", "if", "then",
     "else", "patternProperties", "propertyNames", "minProperties", "maxProperties", "contains",
     "minContains", "maxContains", "prefixItems", "additionalItems", "unevaluatedItems",
     "unevaluatedProperties", "dependentRequired", "dependentSchemas", "dependencies",
     "contentEncoding", "contentMediaType", "contentSchema", "$id", "$anchor", "$dynamicRef",
     "$dynamicAnchor", "$recursiveRef", "definitions", "nullable", "minimum", "minLenght"],
)  # fmt: skip
def test_a_keyword_that_no_answer_would_keep_to_is_refused(keyword: str) -> None:
    said = refused({**DOOR, keyword: 1})
    assert f"at #/{keyword}" in said
    inside = {"type": "object", "properties": {"x": {"type": "string", keyword: 1}}}
    assert f"at #/properties/x/{keyword}" in refused(inside)


@pytest.mark.parametrize("kind", KEYWORDS)
def test_a_keyword_of_another_type_is_refused(kind: str) -> None:
    whole: dict[str, Any] = {"type": kind, "properties": {}, "items": {"type": "null"}}
    whole = {key: one for key, one in whole.items() if key == "type" or key in KEYWORDS[kind]}
    read_schema(json.dumps(whole))
    others = {key for keys in KEYWORDS.values() for key in keys} - set(KEYWORDS[kind])
    for keyword in others:
        assert f"at #/{keyword}" in refused({**whole, keyword: 1})


def test_references_are_written_out_and_annotations_left_out() -> None:
    said = read_schema(json.dumps({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Fridge",
        "$defs": {"a/b": {"type": "integer", "examples": [3], "default": 2, "$comment": "c"}},
        "type": "object", "properties": {"n": {"$ref": "#/$defs/a~1b"}, "m": {"const": "x"}},
    }))  # fmt: skip
    assert json.loads(said.text) == {
        "title": "Fridge", "type": "object", "required": [], "additionalProperties": False,
        "properties": {"n": {"type": "integer"}, "m": {"enum": ["x"]}},
    }  # fmt: skip


def test_a_schema_that_grows_without_end_is_refused_at_once() -> None:
    defs: dict[str, Any] = {"d0": {"type": "null"}}
    for k in range(1, 60):
        defs[f"d{k}"] = {"anyOf": [{"$ref": f"#/$defs/d{k - 1}"}, {"$ref": f"#/$defs/d{k - 1}"}]}
    assert "too large" in refused({"$defs": defs, "$ref": "#/$defs/d59"})
    nested: dict[str, Any] = {"type": "null"}
    for _ in range(20):
        nested = {"type": "array", "items": nested, "maxItems": 1}
    assert "too large" in refused(nested)
    many = {"type": "array", "items": {"type": "array", "items": {"type": "null"}}}
    assert "items in all" in refused({**many, "maxItems": 9})
    wide = {"type": "object", "properties": {f"k{k}": {"type": "null"} for k in range(301)}}
    assert "too large" in refused(wide)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["object", "string", "integer", "array", "#/$defs/a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from([*{key for keys in KEYWORDS.values() for key in keys}, "type", "$ref",
                         "$defs", "enum", "const", "anyOf", "title", "$schema"]), inner,
        max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        found = read_schema(json.dumps(value))
    except RequestError:
        return
    Draft202012Validator.check_schema(json.loads(found.text))
