"""The description of REST as OpenAPI 3.1, made from the Structs that requests are checked with."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from relayd import __version__
from relayd.http.bodies import FORM, JSON
from relayd.wire import rest

_BODIES = (rest.CreateRoom, rest.EditRoom, rest.CreateInvite)
_ANSWERS = (rest.Created, rest.Details, rest.UserPage, rest.Invite, rest.InviteCreated, rest.InviteList)
_GROUPS = ("settings", "access")  # objects, which a form has none of
_SECURITY: list[dict[str, list[str]]] = [{"key": []}]

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For the person who reads it"},
        "code": {"type": "string", "description": "For the program that reads it"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

_KEY = "Invite or owner key. The session of a user inside reads the details and the users, too"
_WHAT: dict[str, str] = {
    "400": "The request could not be read",
    "401": "No key, and one is needed",
    "403": "The key does not permit it: only the owner may do that, or only people with a key create rooms here",
    "404": "No such room, or a key that does not fit it: the same answer for both",
    "405": "Wrong method; `Allow` says which work",
    "409": "Another living room has that name, or it is reserved for admins",
    "408": "The request did not arrive in time",
    "413": "The body has more than 64 KiB",
    "431": "The head of the request has more than 8 KiB",
    "415": "Neither JSON nor a form",
    "421": "A host name that this server does not answer to",
    "422": "Some fields are wrong; `errors` says which",
    "429": "Too many of these from your address or in the room; `Retry-After`, if given, says when to come back",
    "503": "Full, draining or overloaded; `Retry-After` says when to come back",
}

_ROOM = {
    "name": "room",
    "in": "path",
    "required": True,
    "description": "Id or name of the room",
    "schema": {"type": "string", "minLength": 1},
}
_USER = {"name": "user_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_INVITE = {"name": "invite_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_AFTER = {
    "name": "after",
    "in": "query",
    "description": "The last user id of the page before",
    "schema": {"type": "string"},
}
_BAN = {"name": "ban", "in": "query", "schema": {"type": "boolean", "default": False}}


@functools.cache
def openapi_json() -> bytes:
    """The description, as JSON text."""
    _, schemas = msgspec.json.schema_components((*_BODIES, *_ANSWERS), ref_template="#/components/schemas/{name}")
    # The settings of a room are merged into those it has, so they are written as an open dict in the Struct.
    for body in _BODIES:
        if "settings" in schemas[body.__name__]["properties"]:
            schemas[body.__name__]["properties"]["settings"] = _ref("RoomSettings")
        schemas[f"{body.__name__}Form"] = _form_schema(schemas[body.__name__], schemas["RoomSettings"])
    schemas["CreateRoom"]["not"] = {
        "required": ["password", "access"],
        "properties": {"password": {"type": "string"}, "access": {"type": "object"}},
    }
    schemas["Created"]["required"] += ["chat", "link"]
    schemas["RoomSettings"].pop("required", None)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "relayd",
                "version": __version__,
                "description": "Throw-away chat rooms. What is said goes over the WebSocket at /{room_id} only.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "paths": _paths(),
            "components": {
                "schemas": schemas | {"Problem": _PROBLEM},
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "description": _KEY},
                    "create_key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "Key to create rooms, on servers that let nobody create them without one",
                    },
                },
            },
        }
    )


def _paths() -> dict[str, Any]:
    created = {"Location": {"description": "Address of the room", "schema": {"type": "string"}}}
    return {
        "/api/v1/room": {
            "post": _operation(
                "Open a room",
                201,
                rest.Created,
                body=rest.CreateRoom,
                headers=created,
                security=[{}, {"create_key": []}],
                errors="401 403 409 429 503",
            )
        },
        "/api/v1/openapi.json": {
            "get": {
                "summary": "This description",
                "operationId": "this_description",
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            }
        },
        "/api/v1/{room}": {
            "parameters": [_ROOM],
            "get": _operation("A room's details", 200, rest.Details, keyed=True),
            "patch": _operation(
                "Change a room", 200, rest.Details, body=rest.EditRoom, keyed=True, owner=True, errors="409 429 503"
            ),
            "delete": _operation("End a room", 204, None, keyed=True, owner=True),
        },
        "/api/v1/{room}/users": {
            "parameters": [_ROOM, _AFTER],
            "get": _operation("A room's users, 200 at a time", 200, rest.UserPage, keyed=True),
        },
        "/api/v1/{room}/users/{user_id}": {
            "parameters": [_ROOM, _USER, _BAN],
            "delete": _operation("Put a user out", 204, None, keyed=True, owner=True, errors="422"),
        },
        "/api/v1/{room}/invite": {
            "parameters": [_ROOM],
            "post": _operation(
                "A fresh invite key; the old one stops working", 200, rest.Invite, keyed=True, owner=True
            ),
        },
        "/api/v1/{room}/invites": {
            "parameters": [_ROOM],
            "get": _operation("The invites that still let somebody in", 200, rest.InviteList, keyed=True, owner=True),
            "post": _operation(
                "A further invite with limits of its own",
                201,
                rest.InviteCreated,
                body=rest.CreateInvite,
                keyed=True,
                owner=True,
                errors="429",
            ),
        },
        "/api/v1/{room}/invites/{invite_id}": {
            "parameters": [_ROOM, _INVITE],
            "delete": _operation("Revoke an invite", 204, None, keyed=True, owner=True, errors="429"),
        },
    }


def _operation(
    summary: str,
    status: int,
    answer: type[msgspec.Struct] | None,
    *,
    body: type[msgspec.Struct] | None = None,
    headers: dict[str, Any] | None = None,
    keyed: bool = False,
    owner: bool = False,
    security: list[dict[str, list[str]]] | None = None,
    errors: str = "",
) -> dict[str, Any]:
    statuses = {"400", "408", "413", "421", "431", "503", *errors.split()}
    statuses |= {"401", "404"} if keyed else set()
    statuses |= {"403"} if owner else set()
    statuses |= {"415", "422"} if body is not None else set()
    good: dict[str, Any] = {"description": summary}
    if answer is not None:
        good["content"] = {"application/json": {"schema": _ref(answer.__name__)}}
    if headers:
        good["headers"] = headers
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": re.sub(r"\W+", "_", re.split("[;,]", summary)[0]).lower(),
        "responses": {str(status): good} | {code: _problem(code) for code in sorted(statuses)},
    }
    if keyed or security:
        operation["security"] = security or _SECURITY
    if body is not None:
        kinds = {JSON: body.__name__, FORM: f"{body.__name__}Form"}
        operation["requestBody"] = {"content": {kind: {"schema": _ref(name)} for kind, name in kinds.items()}}
    return operation


def _form_schema(body: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The same fields as a form has them: flat, those of `settings` with a dot, and nothing is null.

    `access` is left out: clients that seal speak JSON.
    """
    fields = {name: _not_null(body["properties"][name]) for name in body["properties"] if name not in _GROUPS}
    if "settings" in body["properties"]:
        fields |= {f"settings.{name}": schema for name, schema in settings["properties"].items()}
    return body | {"title": f"{body['title']}Form", "properties": fields}


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    only: dict[str, Any] = kinds[0] if len(kinds) == 1 else schema
    return only


def _problem(status: str) -> dict[str, Any]:
    return {"description": _WHAT[status], "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
