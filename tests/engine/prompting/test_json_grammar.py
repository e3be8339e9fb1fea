"""The grammar of a JSON schema holds what its subset promises, keyword by keyword."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from xgrammar import (
    GrammarCompiler,
    GrammarMatcher,
    TokenizerInfo,
    VocabType,
    allocate_token_bitmask,
)

from chatspot_ros.core.json_schema import ANNOTATIONS, KEYWORDS, JsonSchema, read_schema
from chatspot_ros.engine.prompting.grammar_constraint import (
    GrammarConstraint,
    control_bits,
    is_in,
    json_grammar,
)

# schema, texts that follow it, texts that do not
CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"type": "null"}, ["null"], ["0", "nul"]),
    ({"type": "boolean"}, ["true", "false"], ["1", '"true"']),
    ({"type": "integer"}, ["0", "-3", "12"], ["1.5", "01", "1e3", '"1"']),
    ({"type": "integer", "minimum": 3, "maximum": 12}, ["3", "12"], ["2", "13", "-3"]),
    ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 12}, ["4", "11"], ["3", "12"]),
    ({"type": "integer", "minimum": -2**53, "maximum": 2**53}, [str(2**53)], [str(2**53 + 1)]),
    ({"type": "number"}, ["1", "1.5", "-0.25", "1e5"], [".5", "NaN"]),
    ({"type": "number", "minimum": 0, "maximum": 1}, ["0", "0.25", "1"], ["1.01", "-0.1", "2"]),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, ["0.5"], ["0", "1", "0.0"]),
    ({"type": "string"}, ['""', '"a b"', '"\\n"', '"门"'], ["a", '"a', '"\n"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"äöü"'], ['"a"', '"abcd"']),
    ({"enum": ["open", 3, 1.5, True, None]}, ['"open"', "3", "1.5", "true", "null"],
     ['"ope"', "false", "4"]),
    ({"enum": ["open"], "type": "string"}, ['"open"'], ["open"]),
    ({"const": "a \"b\" ö"}, ['"a \\"b\\" ö"'], ['"a"']),
    ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, ["null", "true"], ["1"]),
    ({"type": ["integer", "null"], "minimum": 2}, ["2", "null"], ["1"]),
    ({"$defs": {"d": {"enum": ["x"]}}, "$ref": "#/$defs/d"}, ['"x"'], ['"y"']),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
     ["[1]", "[1, 2]"], ["[]", "[1, 2, 3]", "[1,2]"]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}},
      "required": ["a"], "additionalProperties": False},
     ['{"a": 1}', '{"a": 1, "b": null}'],
     ["{}", '{"b": null}', '{"a": 1, "c": 2}', '{"a": 1, "a": 2}', '{"b": null, "a": 1}']),
    ({"type": "object", "properties": {}}, ["{}"], ['{"a": 1}']),
    ({"type": "object", "properties": {"a": {"type": "object", "properties": {
        "\"k\": ö": {"type": "null"}}, "required": ["\"k\": ö"]}}},
     ['{"a": {"\\"k\\": ö": null}}', "{}"], ['{"a": {}}']),
]  # fmt: skip


def follows(schema: JsonSchema, text: str) -> bool:
    compiled = GrammarCompiler(TokenizerInfo([])).compile_grammar(json_grammar(schema))
    matcher = GrammarMatcher(compiled, terminate_without_stop_token=True)
    return bool(matcher.accept_string(text) and matcher.is_completed())


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_the_grammar_and_the_check_say_the_same(
    schema: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    read = read_schema(json.dumps(schema))
    for text in good:
        assert follows(read, text), text
        assert follows(read, f" {text}"), text
        assert read.fault(text) == "", text
    for text in bad:
        assert not follows(read, text), text


def test_every_keyword_of_the_subset_has_a_case() -> None:
    used: set[str] = set()

    def collect(schema: Any) -> None:
        if isinstance(schema, dict):
            used.update(schema)
            for one in schema.values():
                collect(one)
        if isinstance(schema, list):
            for one in schema:
                collect(one)

    collect([schema for schema, _, _ in CASES])
    known = {key for keys in KEYWORDS.values() for key in keys}
    assert known | {"type", "enum", "const", "anyOf", "$ref"} <= used
    assert not known & set(ANNOTATIONS)


def test_whatever_is_drawn_from_the_grammar_follows_the_schema() -> None:
    schema = read_schema(json.dumps({
        "type": "object", "required": ["things", "n", "share", "note"], "properties": {
            "things": {"type": "array", "minItems": 1, "maxItems": 3, "items": {
                "type": "object", "required": ["name", "open"], "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 4},
                    "open": {"type": ["boolean", "null"]}}}},
            "n": {"type": "integer", "minimum": -20, "maximum": 300},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.75},
            "note": {"anyOf": [{"type": "string", "maxLength": 3}, {"enum": [1, None]}]}},
    }))  # fmt: skip
    letters = [chr(k).encode() for k in range(32, 127)] + [b"\n", b"\x00", "ö".encode(), b"</s>"]
    end = len(letters) - 1
    info = TokenizerInfo(letters, VocabType.RAW, stop_token_ids=[end])
    compiled = GrammarCompiler(info).compile_grammar(json_grammar(schema))
    rng = random.Random(0)
    for _ in range(60):
        never = control_bits(letters, len(letters))
        constraint, ids = GrammarConstraint(compiled, len(letters), never), list[int]()
        bits = allocate_token_bitmask(1, len(letters))[0]
        while ids[-1:] != [end]:
            constraint.allow(ids, bits)
            ids.append(rng.choice([k for k in range(len(letters)) if is_in(bits, k)]))
            assert len(ids) < 2000
        said = b"".join(letters[k] for k in ids[:-1])
        assert schema.fault(said.decode()) == "", said


def _wide() -> dict[str, Any]:
    one = {"type": "object", "properties": {
        f"k{k}": {"type": ["string", "number", "null"], "maxLength": 1000, "maximum": 0.123456789}
        for k in range(8)}}  # fmt: skip
    return {"type": "object", "properties": {f"k{k}": one for k in range(20)}}


def _deep() -> dict[str, Any]:
    schema: dict[str, Any] = {"enum": [f"value {k} {'x' * 40}" for k in range(200)]}
    for _ in range(5):
        schema = {"type": "array", "items": {"anyOf": [schema, {"type": "null"}]}, "maxItems": 2}
        if len(json.dumps(schema)) > 15_000:
            break
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        _wide(), _deep(),
        {"type": "array", "maxItems": 8, "minItems": 8, "items": {
            "type": "array", "maxItems": 64, "minItems": 64,
            "items": {"type": "string", "minLength": 1000, "maxLength": 1000}}},
        {"type": "object", "properties": {f"k{k}": {"type": "number", "minimum": -999999.123456,
                                                    "maximum": 999999.654321}
                                          for k in range(200)}},
    ],
)  # fmt: skip
def test_the_largest_schemas_compile_in_a_moment(schema: dict[str, Any]) -> None:
    read = read_schema(json.dumps(schema))
    # Every pair of letters is a token, as a real tokenizer's would be.
    texts = [bytes((a, b)) for a in range(32, 127) for b in range(32, 127)]
    texts += [bytes((k,)) for k in range(256)] + [b"</s>"]
    info = TokenizerInfo(texts, VocabType.RAW, stop_token_ids=[len(texts) - 1])
    compiler = GrammarCompiler(info, max_threads=1)
    began_s = time.process_time()
    matcher = GrammarMatcher(compiler.compile_grammar(json_grammar(read)))
    matcher.fill_next_token_bitmask(allocate_token_bitmask(1, len(texts)))
    assert time.process_time() - began_s < 5.0
