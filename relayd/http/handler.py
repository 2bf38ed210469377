"""What all HTTP handlers share: bodies read with a bound, JSON answers, errors as problem+json."""

from __future__ import annotations

import http
import logging
import math
from types import TracebackType
from typing import Any

import msgspec
from tornado import web

from relayd.errors import MethodNotAllowed, NoKey, NotFound, RelayError, TooLarge, UpgradeRequired

log = logging.getLogger("relayd.http")

MAX_BODY_BYTES = 64 * 1024
MAX_DROPPED_BYTES = 8 * 1024 * 1024  # of a body that is too large: read, so that the answer arrives


@web.stream_request_body
class JsonHandler(web.RequestHandler):
    """Base of all HTTP handlers. `methods` are those it answers to."""

    methods: tuple[str, ...] = ("GET",)

    def initialize(self) -> None:
        """Tornado's constructor."""
        self._body = bytearray()
        self._body_bytes = 0

    def compute_etag(self) -> None:
        """None: what is said here is never the same twice."""

    def set_default_headers(self) -> None:
        """On every answer, errors included."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body; what is too much is counted and dropped."""
        self._body_bytes += len(chunk)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body += chunk

    @property
    def body(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it has more than 64 KiB.
        """
        if self._body_bytes > MAX_BODY_BYTES:
            raise TooLarge(f"The body has more than {MAX_BODY_BYTES} bytes")
        return bytes(self._body)

    def write_json(self, body: bytes, status: int = 200) -> None:
        """Answers with JSON text."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answers with the problem (RFC 9457)."""
        error = relay_error(status_code, kwargs.get("exc_info"))
        self.set_status(error.status)
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join(self.methods))
        if isinstance(error, UpgradeRequired):
            self.set_header("Sec-WebSocket-Version", "13")
        if isinstance(error, NoKey):
            self.set_header("WWW-Authenticate", "Bearer")
        for name, value in _problem_headers(error).items():
            self.set_header(name, value)
        self.finish(problem_json(error))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """A peer's mistake is no event; ours is one, without the request."""
        if not isinstance(value, RelayError | web.HTTPError):
            log.error("request failed in %s", type(self).__name__, exc_info=(typ, value, tb) if typ and value else None)


def _problem_headers(error: RelayError) -> dict[str, str]:
    headers = {"Content-Type": "application/problem+json"}
    if error.retry_after_s is not None or error.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or 1)))
    return headers


def problem_response(error: RelayError) -> bytes:
    """A whole answer to a request that reaches no handler; the connection is to be closed after it."""
    body = problem_json(error)
    headers = _problem_headers(error) | {
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def problem_json(error: RelayError) -> bytes:
    """The body of an error answer."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.problems:
        problem["errors"] = [{"field": field, "detail": detail} for field, detail in error.problems]
    return msgspec.json.encode(problem)


def relay_error(status: int, exc_info: tuple[Any, BaseException, Any] | None) -> RelayError:
    """What went wrong, whoever noticed it: relayd, or Tornado by status."""
    error = exc_info[1] if exc_info else None
    if isinstance(error, RelayError):
        return error
    known = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}
    if status in known:
        return known[status]()
    plain = RelayError(http.HTTPStatus(status).phrase if status < 500 else "")
    if status < 500:
        plain.status, plain.title, plain.code = status, http.HTTPStatus(status).phrase, "malformed"  # type: ignore[misc]
    return plain
