"""The JSON schemas that answers may follow: a bounded subset of draft 2020-12.

A schema comes from whoever asks. The subset has the keywords that a grammar can hold exactly; every
other one is refused with its place, for an answer would not keep to it. References are written out,
so what is returned has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from chatspot_ros.errors import RequestError, shorten

MAX_CHARS = 16384
MAX_DEPTH = 12
# Schemas within a schema, references written out; and what its arrays may hold together.
MAX_NODES = 300
MAX_ITEMS, MAX_REPEATED = 64, 512
MAX_LENGTH = 1000
MAX_ENUM, MAX_ENUM_CHARS = 256, 200
MAX_NAME_CHARS = 100
# Beyond these a number of JSON is not exact.
MAX_INTEGER = 2**53
MAX_NUMBER = 1e15

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
# Said to the model, and held by nothing.
ANNOTATIONS = ("title", "description", "default", "examples", "$comment", "$schema", "$defs")
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# Each type with the keywords that go with it.
KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
    "string": ("minLength", "maxLength"),
    "integer": _RANGE,
    "number": _RANGE,
    "boolean": (),
    "null": (),
}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_LOCAL = "#/$defs/"
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class JsonSchema:
    """A schema of the subset: `text` is its JSON on one line, without references."""

    text: str

    def fault(self, text: str) -> str:
        """Return why a text is no JSON that follows the schema; empty where it is."""
        try:
            value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            return f"it is no JSON: {error}"
        found = next(_validator(self.text).iter_errors(value), None)
        return "" if found is None else f"{found.json_path}: {shorten(found.message)}"


@lru_cache(maxsize=64)
def _validator(text: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(text))


@lru_cache(maxsize=64)
def read_schema(text: str) -> JsonSchema:
    """Return the schema of a request.

    Raises:
        RequestError: it is not in the subset; the message has the place, as a JSON pointer.
    """
    if len(text) > MAX_CHARS:
        raise RequestError(
            f"the JSON schema is longer than {MAX_CHARS} characters",
            value=f"{len(text)} characters", remedy="shorten it",
        )  # fmt: skip
    try:
        schema = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"the JSON schema is no JSON: {error or 'it is nested too deeply'}",
            value=shorten(text), remedy="give one JSON object",
        ) from error  # fmt: skip
    return JsonSchema(json.dumps(_Reader(schema).read(), ensure_ascii=False))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key comes twice: {next(n for n in names if names.count(n) > 1)!r}")
    return found


def _refuse(place: str, problem: str, value: Any, remedy: str) -> RequestError:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return RequestError(
        f"the JSON schema cannot be used at {place or '#'}: {problem}",
        value=shorten(shown), remedy=remedy,
    )  # fmt: skip


def _at(place: str, *parts: object) -> str:
    """Return the pointer to a part of what a pointer names."""
    return "/".join([place, *(str(one).replace("~", "~0").replace("/", "~1") for one in parts)])


class _Reader:
    """Checks one schema and writes its references out."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        defs = schema.get("$defs", {}) if isinstance(schema, dict) else {}
        if not isinstance(defs, dict):
            raise _refuse("#/$defs", "it is no object", defs, "map names to schemas")
        self._defs: dict[str, Any] = defs
        self._nodes = 0

    def read(self) -> dict[str, Any]:
        read = self._node(self._schema, "#", (), 1, 1)
        for name, one in self._defs.items():
            # Also what nothing refers to must be right.
            self._node(one, _at("#/$defs", name), (name,), 2, 1)
        return read

    def _node(
        self, schema: Any, place: str, within: tuple[str, ...], depth: int, times: int
    ) -> dict[str, Any]:
        """Return a schema without references; `within` are the ones being written out."""
        if not isinstance(schema, dict):
            raise _refuse(place, "a schema is a JSON object", schema, 'give {"type": ...}')
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH or times > MAX_REPEATED:
            raise _refuse(
                place, "the schema is too large", f"{self._nodes} schemas, {depth} deep",
                f"use at most {MAX_NODES} schemas (references written out), {MAX_DEPTH} deep, and "
                f"{MAX_REPEATED} items in all",
            )  # fmt: skip
        kept = {key: schema[key] for key in ("title", "description") if key in schema}
        for key, value in kept.items():
            if not isinstance(value, str):
                raise _refuse(_at(place, key), "it is no text", value, "give a text")
        if str(schema.get("$schema", _DRAFT)).rstrip("#") != _DRAFT:
            raise _refuse(_at(place, "$schema"), "it is another draft", schema["$schema"],
                          f"use {_DRAFT}, or leave it out")  # fmt: skip
        if "$defs" in schema and place != "#":
            raise _refuse(_at(place, "$defs"), "only the whole schema has $defs", "", "move them")
        form = [key for key in ("$ref", "anyOf", "enum", "const", "type") if key in schema]
        if not form:
            raise _refuse(place, "it allows everything", schema,
                          "give its type, or enum, const, anyOf or $ref")  # fmt: skip
        read: dict[str, Callable[..., dict[str, Any]]] = {
            "$ref": self._ref, "anyOf": self._any_of, "enum": self._enum, "const": self._const,
            "type": self._typed,
        }  # fmt: skip
        return {**kept, **read[form[0]](schema, place, within, depth, times)}

    def _ref(
        self, schema: dict[str, Any], place: str, within: tuple[str, ...], depth: int, times: int
    ) -> dict[str, Any]:
        _only(schema, place, ("$ref",))
        target, here = schema["$ref"], _at(place, "$ref")
        name = target[len(_LOCAL) :] if isinstance(target, str) else ""
        name = name.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, str) or not target.startswith(_LOCAL) or name not in self._defs:
            raise _refuse(here, "it refers to nothing in $defs", target,
                          f"refer to {_LOCAL}NAME of the schema itself")  # fmt: skip
        if name in within:
            raise _refuse(here, "it refers to itself", target,
                          "write the levels out: a recursive answer may never end")  # fmt: skip
        return self._node(self._defs[name], here, (*within, name), depth, times)

    def _any_of(
        self, schema: dict[str, Any], place: str, within: tuple[str, ...], depth: int, times: int
    ) -> dict[str, Any]:
        _only(schema, place, ("anyOf",))
        ways, here = schema["anyOf"], _at(place, "anyOf")
        if not isinstance(ways, list) or not ways:
            raise _refuse(here, "it is no list of schemas", ways, "give at least one")
        read = [self._node(one, _at(here, k), within, depth + 1, times)
                for k, one in enumerate(ways)]  # fmt: skip
        return {"anyOf": read}

    def _enum(self, schema: dict[str, Any], place: str, *_: object) -> dict[str, Any]:
        _only(schema, place, ("enum", "type"))
        values, here = schema["enum"], _at(place, "enum")
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_ENUM:
            raise _refuse(here, f"it is no list of 1 to {MAX_ENUM} values", values, "list them")
        told = [json.dumps(value) for value in values]
        if len(set(told)) < len(told):
            raise _refuse(here, "a value comes twice", values, "give each value once")
        types = self._types(schema, place) if "type" in schema else ()
        for k, value in enumerate(values):
            _check_scalar(value, _at(here, k), types)
        return {"enum": values}

    def _const(self, schema: dict[str, Any], place: str, *_: object) -> dict[str, Any]:
        _only(schema, place, ("const", "type"))
        types = self._types(schema, place) if "type" in schema else ()
        _check_scalar(schema["const"], _at(place, "const"), types)
        return {"enum": [schema["const"]]}

    def _types(self, schema: dict[str, Any], place: str) -> tuple[str, ...]:
        given = schema["type"]
        types = given if isinstance(given, list) else [given]
        if not types or any(one not in TYPES for one in types):
            raise _refuse(_at(place, "type"), "there is no such type", given,
                          f"use {', '.join(TYPES)}")  # fmt: skip
        if len(set(types)) < len(types) or {"integer", "number"} <= set(types):
            raise _refuse(_at(place, "type"), "a type comes twice", given, "name it once")
        return tuple(types)

    def _typed(
        self, schema: dict[str, Any], place: str, within: tuple[str, ...], depth: int, times: int
    ) -> dict[str, Any]:
        types = self._types(schema, place)
        allowed = [key for one in types for key in KEYWORDS[one]]
        _only(schema, place, ("type", *allowed))
        read = {"type": schema["type"]}
        if "string" in types:
            read |= _sizes(schema, place, ("minLength", "maxLength"), MAX_LENGTH)
        if "array" in types:
            read |= _sizes(schema, place, ("minItems", "maxItems"), MAX_ITEMS)
            most = read.setdefault("maxItems", MAX_ITEMS)
            items = schema.get("items")
            read["items"] = self._node(
                items, _at(place, "items"), within, depth + 1, times * max(most, 1)
            )
        if "integer" in types or "number" in types:
            read |= _range(schema, place, whole="number" not in types)
        if "object" in types:
            read |= self._object(schema, place, within, depth, times)
        return read

    def _object(
        self, schema: dict[str, Any], place: str, within: tuple[str, ...], depth: int, times: int
    ) -> dict[str, Any]:
        properties, here = schema.get("properties"), _at(place, "properties")
        if not isinstance(properties, dict):
            raise _refuse(here, "an object has no list of its keys", properties,
                          'give {"key": schema, ...}')  # fmt: skip
        if schema.get("additionalProperties", False) is not False:
            raise _refuse(
                _at(place, "additionalProperties"), "keys without a name are not held",
                schema["additionalProperties"], "give false, or leave it out",
            )  # fmt: skip
        required = schema.get("required", [])
        known = isinstance(required, list) and all(
            isinstance(one, str) and one in properties for one in required
        )
        if not known or len(set(required)) < len(required):
            raise _refuse(_at(place, "required"), "it is no list of keys of properties, each once",
                          required, f"use {', '.join(properties) or 'none'}")  # fmt: skip
        for name in properties:
            if len(name) > MAX_NAME_CHARS or not name.isprintable():
                raise _refuse(_at(here, name), "the key is too long or not printable", name,
                              f"use at most {MAX_NAME_CHARS} characters")  # fmt: skip
        read = {name: self._node(one, _at(here, name), within, depth + 1, times)
                for name, one in properties.items()}  # fmt: skip
        return {"properties": read, "required": required, "additionalProperties": False}


def _only(schema: dict[str, Any], place: str, keywords: tuple[str, ...]) -> None:
    """Raise RequestError for a keyword beside these and the annotations."""
    for key in schema:
        if key not in keywords and key not in ANNOTATIONS:
            beside = ", ".join(dict.fromkeys(keywords))
            raise _refuse(_at(place, key), "no answer is held to this here", schema[key],
                          f"leave it out; here may stand {beside}")  # fmt: skip


def _check_scalar(value: Any, place: str, types: tuple[str, ...]) -> None:
    if not isinstance(value, _SCALARS):
        raise _refuse(place, "it is no text, number, true, false or null", value,
                      "give the keys as properties")  # fmt: skip
    if isinstance(value, str) and (len(value) > MAX_ENUM_CHARS or not value.isprintable()):
        raise _refuse(place, "the text is too long or not printable", value,
                      f"use at most {MAX_ENUM_CHARS} characters")  # fmt: skip
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise _refuse(place, "the number is too large", value, f"use at most {MAX_NUMBER:g}")
    if types and not Draft202012Validator({"type": list(types)}).is_valid(value):
        raise _refuse(place, "it is not of the type", value, f"use {' or '.join(types)}")


def _sizes(schema: dict[str, Any], place: str, keys: tuple[str, str], most: int) -> dict[str, Any]:
    """Return the least and the greatest size that a schema gives. Raises RequestError."""
    given = {key: schema[key] for key in keys if key in schema}
    for key, value in given.items():
        if type(value) is not int or not 0 <= value <= most:
            raise _refuse(_at(place, key), f"it is no whole number from 0 to {most}", value,
                          "give a smaller one")  # fmt: skip
    low, high = given.get(keys[0], 0), given.get(keys[1], most)
    if low > high:
        raise _refuse(_at(place, keys[0]), f"it is greater than {keys[1]}", low, "change one")
    return given


def _range(schema: dict[str, Any], place: str, whole: bool) -> dict[str, Any]:
    """Return the bounds of numbers. Raises RequestError."""
    given = {key: schema[key] for key in _RANGE if key in schema}
    most = MAX_INTEGER if whole else MAX_NUMBER
    for key, value in given.items():
        fits = type(value) is int if whole else type(value) in (int, float)
        if not fits or not math.isfinite(value) or abs(value) > most:
            raise _refuse(
                _at(place, key), f"it is no {'whole ' * whole}number up to {most:g}", value,
                "give another one",
            )  # fmt: skip
    low = max(given.get("minimum", -most), given.get("exclusiveMinimum", -most - whole) + whole)
    high = min(given.get("maximum", most), given.get("exclusiveMaximum", most + whole) - whole)
    between = low < high or (low == high and (whole or _reaches(given, low)))
    if not between:
        raise _refuse(place, "no number lies between its bounds", given, "change one of them")
    return given


def _reaches(given: dict[str, Any], value: float) -> bool:
    """Return whether no exclusive bound is a value."""
    return value not in (given.get("exclusiveMinimum"), given.get("exclusiveMaximum"))
