"""The OpenAPI 3.1 document of the control API, made from the same table as its routes.

`python -m reconciler.gateway.control.openapi` prints it; docs/api/control-plane.yaml is that text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import yaml

from reconciler import __version__
from reconciler.gateway.control.app import OPERATIONS, PREFIX
from reconciler.gateway.control.calls import FENCE_HEADER, Operation
from reconciler.gateway.control.models import PATH_TYPES, WHOLE, Nothing
from reconciler.gateway.control.problems import MEDIA_TYPE, Problem
from reconciler.routing.config import Configuration, field_schemas

Json = dict[str, Any]

_ALWAYS = (401, 422, 500, 503)
_ON_WRITES = (400, 403, 408, 409, 413, 415)
_DESCRIPTION = """\
Configuration, runtime state and logs of one routing control plane.

A change is staged as a revision, proved through probes that name it, and served only once it is promoted.
Admin tokens may do everything, viewer tokens may GET. Errors are problem details (RFC 9457); decide by `reason`.
"""
_HEADERS: Mapping[str, str] = {
    FENCE_HEADER: "INSTALLATION/NUMBER of the writer's lease; a write with a lower number than one seen is refused.",
    "If-Match": "Entity tags that the object must have now, or `*`: it must be there.",
    "If-None-Match": "Entity tags that the object must not have now, or `*`: it must not be there.",
}


def document() -> Json:
    """Return the document."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas
        )
    schemas.of(Configuration)
    _bound(schemas.components)
    problem = {
        "description": "A problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": schemas.of(Problem)}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reconciler gateway: control API",
            "version": __version__,
            "description": _DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": {"problem": problem},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def text() -> str:
    """Return the document as YAML."""
    head = "# Made by `make docs` from reconciler/gateway/control: do not edit.\n"
    return head + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)


class Schemas:
    """JSON Schemas of types: where one is asked for, a reference; its body among the components."""

    def __init__(self) -> None:
        self.components: dict[str, Json] = {}

    def of(self, type_: Any) -> Json:
        """Return the schema of a type."""
        (schema,), components = msgspec.json.schema_components(
            [type_], ref_template="#/components/schemas/{name}"
        )
        self.components |= {name: _plain(_in_json_schema(found)) for name, found in components.items()}
        return dict(_in_json_schema(schema))


def _in_json_schema(schema: Any) -> Any:
    """Write patterns as JSON Schema has them."""
    if isinstance(schema, list):
        return [_in_json_schema(item) for item in schema]
    if isinstance(schema, str):
        return f"{schema.removesuffix(WHOLE)}$" if schema.endswith(WHOLE) else schema
    if not isinstance(schema, dict):
        return schema
    return {key: _in_json_schema(value) for key, value in schema.items()}


def _plain(schema: Json) -> Json:
    """Leave out what repeats the name, and the docstrings that dataclasses make up themselves."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        if field.get("default") == ():
            field["default"] = []
    if "(" in schema.get("description", ""):
        del schema["description"]
    return schema


def _bound(components: Json) -> None:
    """Add to the objects of a configuration what its parser checks: types alone know no ranges."""
    components["Configuration"]["additionalProperties"] = False
    for cls, known in field_schemas().items():
        components[cls]["additionalProperties"] = False
        for name, schema in known.items():
            components[cls]["properties"][name] |= schema


def _operation(operation: Operation, schemas: Schemas) -> Json:
    parameters = [*_path(operation, schemas), *_query(operation, schemas), *_headers(operation)]
    described: Json = {"operationId": operation.id, "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    described["tags"] = [operation.path.split("/")[1]]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not Nothing:
        content = {"application/json": {"schema": operation.body_schema or schemas.of(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = dict(_answers(operation, schemas))
    return described


def _answers(operation: Operation, schemas: Schemas) -> Iterator[tuple[str, Json]]:
    for status, type_ in operation.answers.items():
        answer: Json = {"description": HTTPStatus(status).phrase}
        if type_ is not None:
            answer["content"] = {"application/json": {"schema": schemas.of(type_)}}
        yield str(status), answer
    problems = {*_ALWAYS, *operation.problems, *(_ON_WRITES if operation.writes else ())}
    for status in sorted(problems):
        yield str(status), {"$ref": "#/components/responses/problem"}


def _path(operation: Operation, schemas: Schemas) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": schemas.of(PATH_TYPES[name])}


def _query(operation: Operation, schemas: Schemas) -> Iterator[Json]:
    for parameter in msgspec.structs.fields(operation.query):
        schema = schemas.of(parameter.type)
        if parameter.default is not None:
            schema["default"] = parameter.default
        yield {"name": parameter.name, "in": "query", "schema": _without_null(schema)}


def _without_null(schema: Json) -> Json:
    """A query parameter is absent or has a value: there is no null in a URL."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return {**{key: value for key, value in schema.items() if key != "anyOf"}, **choices[0]}
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema


def _headers(operation: Operation) -> Iterator[Json]:
    names = [FENCE_HEADER] if operation.writes else []
    names += ["If-None-Match"] if operation.conditional else []
    names += ["If-Match"] if operation.conditional and operation.writes else []
    for name in names:
        schema: Json = {"type": "string"}
        if name == FENCE_HEADER:
            schema["pattern"] = "^[^/]{1,128}/[0-9]{1,18}$"
        yield {"name": name, "in": "header", "description": _HEADERS[name], "schema": schema}


if __name__ == "__main__":
    sys.stdout.write(text())
