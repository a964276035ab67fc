"""Compact JSON schemas of results: clients put them into the context of a model."""

from copy import deepcopy
from functools import cache
from typing import Any

from pydantic import BaseModel


def output_schema(result: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a result without titles, defaults, `$ref` and the descriptions of its classes."""
    return deepcopy(_schema_of(result))


@cache  # it takes a third of building a server
def _schema_of(result: type[BaseModel]) -> dict[str, Any]:
    schema = result.model_json_schema(mode="serialization")
    lean: dict[str, Any] = _lean(schema, schema.pop("$defs", {}))
    return lean


def _lean(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_lean(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **node}
    left_out = {"$ref", "title", "default", *(("description",) if "properties" in node else ())}
    kept = {key: value for key, value in node.items() if key not in left_out}
    if "properties" in kept:
        kept["properties"] = {name: _lean(value, definitions) for name, value in kept["properties"].items()}
        return kept
    lean = {key: _lean(value, definitions) for key, value in kept.items()}
    return _nullable(lean)


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    """Write `anyOf` of one type and null as a list of two types, which is shorter."""
    kinds = node.get("anyOf", [])
    others = [kind for kind in kinds if kind != {"type": "null"}]
    if len(kinds) != len(others) + 1 or len(others) != 1:
        return node
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**others[0], "type": [others[0]["type"], "null"], **rest}
