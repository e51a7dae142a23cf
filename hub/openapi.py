"""The OpenAPI 3.1 document of a hub, generated from its endpoints: whatever is served stands in it, and nothing else.

It is imported when the document is first asked for, never at the start.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from hub.auth import SUBPROTOCOL
from hub.binding import Door
from hub.dispatch import TOKEN_ONLY, Endpoint
from hub.errors import SHAPES, STATUS_OF_CODE, status_of
from hub.fanout import Notice, Wire
from hub.rates import AIMOS, RATE_HEADERS
from hub.schemas import Components, Schema, module_name, with_default
from hub.settings import HubSettings
from hub.sse import RESUME_PARAMETER
from kernel import (
    SOCKET_METHOD,
    VERSION,
    AetherraError,
    Conflict,
    EventStream,
    Gone,
    NotFound,
    Parameter,
    Reply,
    SocketError,
    StorageFull,
    TooLarge,
    path_key,
)

ABOUT = """\
The routes of this hub, of every plugin that is loaded at the moment. The document follows a reload.

**Who may.** A token comes as `Authorization: Bearer TOKEN`: an access token of `POST /api/auth/login`, or a service
token. Without one, whoever reaches the hub from its own machine is `user:local`, except on the paths of the AIMOS API;
from elsewhere a token is needed. The policy says what each may, and `x-right` names the right of each operation. A
credential that proves nobody is refused with 401 rather than ignored.

**How often.** Each client has a bound of requests a minute; the paths of the AIMOS API have a lower one, and tell in
`X-RateLimit-*` what is left of it. One too many is answered with 429 and `Retry-After`.

**What a browser may.** Pages of other origins are refused with 403, and so is a request whose `Host` is not a name of
this hub (421). A request with a body has the content type that its operation names, else it is answered with 415.

**Errors.** Each operation answers errors in the shape of its dialect. A request that never becomes one (its head is too
slow, too large, or not HTTP) is answered with 400, 408 or 431 in the Hub's shape, whatever the path; so is a path that
nobody owns (404). Another method at a path is answered with 405 in the shape of the path's dialect.

**Ids.** Every response has an `X-Request-Id`; a request may bring its own.
"""

UNSAID: tuple[type[AetherraError] | str, ...] = (NotFound, Conflict, Gone, TooLarge, StorageFull, "NOT_IMPLEMENTED")
"""What a handler may raise that did not say; the rest comes from the hub itself, whatever is behind a path."""

MEANING: Mapping[int, str] = {
    400: "The request cannot be right: the error names the field, what was expected and what came.",
    401: "The request brings no token where one is needed, or one that does not hold.",
    403: "The caller does not have the right, or the request comes from a page of another origin.",
    404: "No such thing.",
    408: "The body did not come in time.",
    409: "The state of things forbids it.",
    410: "There was such a thing; it is gone.",
    413: "The body, or what it leads to, is above a bound, which the error names.",
    415: "The body is of another content type than this operation takes.",
    421: "The `Host` of the request is no name of this hub.",
    426: "This is a WebSocket: the request asks for no upgrade.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "The hub failed; `error_id` finds the failure in its log.",
    501: "Not part of this version.",
    503: "Not at the moment: the hub starts, stops or is at a bound, or what the operation needs is not there.",
    504: "The answer was not there in time.",
    507: "No room is left on the disk; nothing was written.",
}

BEARER = "bearer"
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An access token of `POST /api/auth/login`, or a service token. Where none is asked for, none is "
    "needed on the hub's own machine.",
}

_NAMES = re.compile(r"\{(\w+)\}")

_KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request under the same key is answered with the first answer and `Idempotency-Replayed: "
    "true`; another request under it with 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
}
_RESUME_HEADER = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The number of the last event that was seen; the stream goes on after it.",
    "schema": {"type": "string", "pattern": "^[0-9]{0,19}$"},
}
_RESUME_QUERY = {
    "name": RESUME_PARAMETER,
    "in": "query",
    "description": "Stands in for `Last-Event-ID` where a client cannot set a header.",
    "schema": {"type": "string", "pattern": "^[0-9]{0,19}$"},
}
_HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {
        "description": "The id of this request: the client's own, or one of 128 random bits.",
        "required": True,
    },
    "X-Hub-Version": {"description": "The version of the hub.", "required": True},
    "Retry-After": {"description": "In how many seconds another attempt may succeed."},
    "WWW-Authenticate": {"description": "The kind of credential that would be asked for."},
    "Idempotency-Replayed": {"description": "`true` where this is the first answer again."},
    "X-RateLimit-Limit": {"description": "Requests a minute that this client may make on these paths."},
    "X-RateLimit-Remaining": {"description": "How many of them are left."},
    "X-RateLimit-Reset": {"description": "When all of them are there again, in seconds since 1970, UTC."},
    "ETag": {"description": "Names this version of the answer, for `If-None-Match`."},
}
_EVENTS = (
    "Server-sent events, each a message of this schema, with the number of the event as `id` and its topic as `event`. "
    "`stream.gap` says that some events after the one asked for are no longer kept, `stream.end` and `error` why the "
    "hub ends the stream, with the number to resume after. Comment lines keep it open."
)
_VALUES = (
    "Server-sent events, each a message of this schema, with one value as `data`. A last message `error` says why the "
    "stream ended early, `stream.end` that the hub ends it."
)
_SOCKET = (
    "The socket is open. Each message is JSON in one text message: the client's are of the schema `receives` in "
    "`x-websocket`, the hub's of `sends`, or an `error`, which says what was wrong with a message or why the socket "
    "ends."
)
_SOCKET_RULES = (
    "`Host` and `Origin` are checked as for any request, `Origin` always. On loopback no token is needed. A token "
    'comes as the first message `{{"type":"auth","token":...}}` or as the subprotocol `bearer.TOKEN`, a short-lived '
    "one as `ticket` in the query; one that does not hold closes the socket with 4401. A later auth message renews the "
    "token. A message is {kib} KiB at most, and nothing is compressed. A refusal closes with 4000 and the status it "
    "would have had, also when the token expires or a right is taken away. The socket is closed with 1001 when the hub "
    "stops, and with 1012 when its plugin is reloaded: connect again."
)


def document(endpoints: Iterable[Endpoint], settings: HubSettings) -> dict[str, Any]:
    """Return the document of these endpoints as plain data."""
    listed = sorted(endpoints, key=lambda endpoint: (endpoint.pattern, endpoint.method))
    return _Writer(settings).write(listed)


class _Writer:
    """Writes one document. Answers are described before requests, as `Components` wants it."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._components = Components()
        self._responses: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        self._ids: set[str] = set()

    def write(self, endpoints: list[Endpoint]) -> dict[str, Any]:
        answers = [self._answers(endpoint) for endpoint in endpoints]
        paths: dict[str, dict[str, Any]] = {}
        places: dict[str, str] = {}
        for endpoint, responses in zip(endpoints, answers, strict=True):
            # Two plugins may share a path and name its parameter differently; for a client it is one path.
            place = places.setdefault(path_key(endpoint.pattern), endpoint.pattern)
            item = paths.setdefault(place, {})
            socket = endpoint.method == SOCKET_METHOD
            # A path may be both, a resource and a socket; then the GET is the resource's.
            method = endpoint.method.lower() if not socket else "get" if "get" not in item else "x-websocket"
            item[method] = self._operation(endpoint, place, responses)
        self._link(paths)
        headers = {name: {**about, "schema": {"type": "string"}} for name, about in _HEADERS.items()}
        schemas = dict(sorted(self._components.schemas.items()))
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Aetherra",
                "summary": "An async hub whose every capability is a plugin that can be changed while it runs.",
                "version": VERSION,
                "description": ABOUT,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "This hub"}],
            "security": [{}, {BEARER: []}],
            "tags": [{"name": name, "description": about} for name, about in sorted(self._tags.items())],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": dict(sorted(self._responses.items())),
                "headers": headers,
                "securitySchemes": {BEARER: _BEARER},
            },
        }

    def _link(self, paths: dict[str, dict[str, Any]]) -> None:
        """Say which operations take what an answer brings: its `job_id` where a path has `{job_id}`."""
        takers = [
            (path, name, operation["operationId"])
            for path, item in paths.items()
            if len(names := _NAMES.findall(path)) == 1 and (name := names[0])
            for operation in item.values()
        ]
        for path, item in paths.items():
            for operation in item.values():
                for status, response in operation["responses"].items():
                    brings = self._fields(response) if status.startswith("2") else {}
                    links = {
                        taker: {"operationId": taker, "parameters": {name: f"$response.body#/{name}"}}
                        for there, name, taker in takers
                        # What is called `id` or `name` is one of those that the path below is about, and no other.
                        if name in brings
                        and f"{{{name}}}" not in path
                        and (name not in ("id", "name") or there.startswith(path))
                    }
                    if links:
                        response["links"] = links

    def _fields(self, response: dict[str, Any]) -> dict[str, Any]:
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        named = self._components.schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
        return dict(named.get("properties", {}))

    # Operations --------------------------------------------------------------------------------------------------

    def _operation(self, endpoint: Endpoint, place: str, responses: dict[str, Any]) -> dict[str, Any]:
        about = _description(endpoint)
        operation: dict[str, Any] = {
            "tags": [self._tag(endpoint)],
            "summary": _summary(about),
            "description": about,
            "operationId": self._id(endpoint),
        }
        parameters = self._parameters(endpoint)
        for parameter, name in zip(parameters, _NAMES.findall(place), strict=False):
            parameter["name"] = name  # those of the path come first
        if parameters:
            operation["parameters"] = parameters
        if isinstance(endpoint, Door):
            body = self._body(endpoint)
            if body is not None:
                operation["requestBody"] = body
            if endpoint.method == SOCKET_METHOD:
                operation["x-websocket"] = self._socket(endpoint)
            operation |= {"x-right": endpoint.route.needs, "x-effect": endpoint.route.effect}
        elif endpoint.right:
            operation |= {"x-right": endpoint.right, "x-effect": "read"}
        if endpoint.anonymous:
            operation["security"] = []
        elif endpoint.dialect in TOKEN_ONLY:
            operation["security"] = [{BEARER: []}]
        operation["x-dialect"] = endpoint.dialect
        operation["responses"] = responses
        return operation

    def _tag(self, endpoint: Endpoint) -> str:
        if not isinstance(endpoint, Door):
            self._tags.setdefault("hub", "What the hub itself serves, without any plugin.")
            return "hub"
        module = inspect.unwrap(endpoint.route.fn).__module__
        name = module_name(module)
        if name.partition(".")[0] != endpoint.owner:
            name = endpoint.owner
        written = inspect.cleandoc(sys.modules[module].__doc__ or "") if module in sys.modules else ""
        self._tags.setdefault(name, _paragraph(written) or f"What the plugin {endpoint.owner} serves.")
        return name

    def _id(self, endpoint: Endpoint) -> str:
        made = "_".join([endpoint.method.lower(), *re.findall(r"[A-Za-z0-9_]+", endpoint.pattern)])
        name, number = made, 2
        while name in self._ids:
            name, number = f"{made}_{number}", number + 1
        self._ids.add(name)
        return name

    def _parameters(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        if not isinstance(endpoint, Door):
            return [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in endpoint.names
            ]
        known = {parameter.field: parameter for parameter in endpoint.from_url.parameters}
        found = [self._parameter(known[name], "path") for name in endpoint.names]
        found += [self._parameter(p, "query") for name, p in known.items() if name not in endpoint.names]
        if endpoint.route.keyed:
            found.append(_KEY_PARAMETER)
        if _streams(endpoint) == "events":
            found += [_RESUME_HEADER, *([] if RESUME_PARAMETER in known else [_RESUME_QUERY])]
        return found

    def _parameter(self, parameter: Parameter, place: str) -> dict[str, Any]:
        schema = dict(self._components.of(parameter.type, given=True))
        made: dict[str, Any] = {"name": parameter.field, "in": place, "schema": schema}
        if "description" in schema:
            made["description"] = schema.pop("description")
        if place == "path":
            # An empty segment is another path.
            made |= {
                "required": True,
                "schema": {"minLength": 1, **schema} if schema.get("type") == "string" else schema,
            }
        elif parameter.required:
            made["required"] = True
        elif parameter.default is not None:
            made["schema"] = with_default(schema, parameter.default)
        return made

    def _body(self, door: Door) -> dict[str, Any] | None:
        if door.media == "application/octet-stream":
            limit = f"Raw bytes, {self._settings.upload_kb} KiB at most."
            return {"description": limit, "required": True, "content": {door.media: {"schema": {}}}}
        binder = door.from_body
        if binder is None or not (binder.parameters or door.route.documented):
            return None
        schema: Schema = {"type": "object", "properties": {}}
        for parameter in binder.parameters:
            kind = self._components.of(parameter.type, given=True)
            schema["properties"][parameter.field] = (
                kind if parameter.required else with_default(kind, parameter.default)
            )
        required = [parameter.field for parameter in binder.parameters if parameter.required]
        if required:
            schema["required"] = required
        if not door.route.documented:
            schema["additionalProperties"] = False
        return {"required": bool(required), "content": {door.media: {"schema": schema}}}

    def _socket(self, door: Door) -> dict[str, Any]:
        signature = door.route.signature
        return {
            "description": _SOCKET_RULES.format(kib=self._settings.socket_kb),
            "subprotocols": [SUBPROTOCOL],
            "receives": self._components.of(signature.receives, given=True),
            "sends": self._components.of(signature.sends, given=False),
            "errors": self._components.of(SocketError, given=False),
        }

    # Responses ---------------------------------------------------------------------------------------------------

    def _answers(self, endpoint: Endpoint) -> dict[str, Any]:
        made: dict[int, dict[str, Any]] = {}
        for status in _error_statuses(endpoint):
            made[status] = {"$ref": f"#/components/responses/{self._error(endpoint.dialect, status)}"}
        if isinstance(endpoint, Door):
            made |= self._door_answers(endpoint)
        else:
            for status, (media, kind) in endpoint.documents.items():
                schema = self._schema(media, kind)
                content = {media: {"schema": schema}}
                headers = ("ETag",) if endpoint.tagged and status == HTTPStatus.OK else ()
                if status in made:
                    content = _either(content, self._responses[self._error(endpoint.dialect, status)]["content"])
                made[status] = self._response(MEANING.get(status, self._about(schema)), content, *headers)
            if endpoint.tagged:
                made[304] = self._response("The client has this version already.", None, "ETag")
        return {str(status): made[status] for status in sorted(made)}

    def _door_answers(self, door: Door) -> dict[int, dict[str, Any]]:
        route = door.route
        if door.method == SOCKET_METHOD:
            return {101: self._response(_SOCKET, None)}
        streams = _streams(door)
        if streams is not None:
            kind = Wire if streams == "events" else route.signature.result
            text = _EVENTS if streams == "events" else _VALUES
            return {200: self._response(text, {"text/event-stream": {"schema": self._message(kind)}})}
        named: tuple[str, ...] = ("Idempotency-Replayed",) if route.keyed else ()
        named += RATE_HEADERS if door.dialect == AIMOS else ()
        if route.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            return {route.status: self._response("Done; there is nothing to say.", None, *named)}
        media = route.produces.partition(";")[0] or "application/json"
        schema = self._schema(media, _result(route.signature.result))
        return {route.status: self._response(self._about(schema), {media: {"schema": schema}}, *named)}

    def _message(self, kind: Any) -> Schema:
        """Return the schema of one message of a stream, its fields as the client's parser hands them out."""
        content = [self._components.of(one, given=False) for one in (kind, Notice)]
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": content}}
        fields = {"id": {"type": "string", "pattern": "^[0-9]+$"}, "event": {"type": "string"}, "data": data}
        return {"type": "object", "properties": fields, "required": ["data"]}

    def _about(self, schema: Schema) -> str:
        named = self._components.schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
        return str(named.get("description", "The answer."))

    def _schema(self, media: str, kind: Any) -> Schema:
        if media.endswith("json"):
            return self._components.of(kind, given=False)
        return {"type": "string"} if media.startswith("text/") else {}

    def _response(self, description: str, content: dict[str, Any] | None, *headers: str) -> dict[str, Any]:
        named = ("X-Request-Id", "X-Hub-Version", *headers)
        made: dict[str, Any] = {
            "description": description,
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
        }
        return made if content is None else {**made, "content": content}

    def _error(self, dialect: str, status: int) -> str:
        shown = dialect if dialect in SHAPES else "hub"
        name = f"{shown}.{status}"
        if name not in self._responses:
            schema = self._components.of(SHAPES[shown].type, given=False)
            more: tuple[str, ...] = {429: ("Retry-After",), 503: ("Retry-After",), 401: ("WWW-Authenticate",)}.get(
                status, ()
            )
            more += RATE_HEADERS if (status, dialect) == (429, AIMOS) else ()
            text = MEANING.get(status, HTTPStatus(status).phrase)
            self._responses[name] = self._response(text, {"application/json": {"schema": schema}}, *more)
        return name


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a status that two things answer with."""
    both = {
        media: {"schema": {"anyOf": [one[media]["schema"], other[media]["schema"]]}}
        for media in one.keys() & other.keys()
    }
    return {**one, **other, **both}


def _error_statuses(endpoint: Endpoint) -> set[int]:
    """Return every status with which a request that found this endpoint can be refused."""
    found = {400, 421, 500, 503}
    if not endpoint.public:
        found.add(403)
    if not endpoint.anonymous:
        found.add(401)
    if not endpoint.unmetered:
        found.add(429)
    raises: Iterable[type[AetherraError] | str] = endpoint.raises
    if isinstance(endpoint, Door):
        if endpoint.from_body is not None or endpoint.media == "application/octet-stream":
            found |= {408, 413, 415}
        found |= {426} if endpoint.method == SOCKET_METHOD else {504}
        raises = UNSAID if endpoint.route.raises is None else endpoint.route.raises
    return found | {status for error in raises if (status := _status(error))}


def _status(error: type[AetherraError] | str) -> int | None:
    # A code without a status of its own is one of a class, which says it.
    return STATUS_OF_CODE.get(error) if isinstance(error, str) else status_of(error(""))


def _streams(endpoint: Endpoint) -> str | None:
    if not isinstance(endpoint, Door):
        return None
    signature = endpoint.route.signature
    return "values" if signature.streams else "events" if signature.result is EventStream else None


def _result(kind: Any) -> Any:
    """Return what is encoded of a handler's result."""
    if kind is Reply:
        return Any
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Reply else kind


# Words ---------------------------------------------------------------------------------------------------------------


def _description(endpoint: Endpoint) -> str:
    if isinstance(endpoint, Door):
        return endpoint.route.description or f"Call {endpoint.route.name}."
    text = inspect.getdoc(type(endpoint)) or endpoint.pattern
    return re.sub(r"^`[^`]*`: (.)", lambda begin: begin[1].upper(), text)


def _summary(text: str) -> str:
    sentence = re.split(r"(?<=[^.])\.(?:\s|$)|: |; ", _paragraph(text), maxsplit=1)[0]
    return sentence if len(sentence) <= 120 else sentence[:119].rsplit(" ", 1)[0] + " ..."


def _paragraph(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].split())
