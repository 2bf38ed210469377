"""One tree of errors: each leaf says its code, its HTTP status and its close code.

They are raised where the mistake is known and translated once, at the door: REST makes them problem+json
(RFC 9457), the socket an `error` frame or a close code, the control socket both. Between hub and gateway they
travel as their code; `by_code` brings them back.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class FieldProblem(NamedTuple):
    """One field that is wrong: its dotted path, and what is wrong with it."""

    field: str
    detail: str


class RelayError(Exception):
    """Something a peer is told. `detail` is for the person who reads it and never repeats a credential.

    Args:
        detail: a sentence; the class's own `title` if left out.
        retry_after_s: seconds after which the same request may succeed; None if it never will by itself.
        problems: the fields that are wrong, all of them.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The server failed"
    status: ClassVar[int] = 500
    close: ClassVar[int] = 1011

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        problems: tuple[FieldProblem, ...] = (),
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        self.problems = problems


# What a peer said was wrong. -----------------------------------------------------------------------------------


class ProtocolViolation(RelayError):
    code, title, status, close = "protocol_error", "That breaks the protocol", 400, 4000


class Malformed(RelayError):
    code, title, status, close = "malformed", "The request could not be read", 400, 4000


class InvalidFields(RelayError):
    code, title, status, close = "invalid_fields", "Some fields are wrong", 422, 4000


class WrongContentType(RelayError):
    code, title, status, close = "wrong_content_type", "That content type is not understood", 415, 4000


class TooLarge(RelayError):
    code, title, status, close = "too_large", "That is too large", 413, 1009


class HeadTooLarge(RelayError):
    code, title, status, close = "head_too_large", "The head of the request has more than 8 KiB", 431, 4000


class RequestTimeout(RelayError):
    code, title, status, close = "request_timeout", "The request did not arrive in time", 408, 4000


class MethodNotAllowed(RelayError):
    code, title, status, close = "method_not_allowed", "That method does not work here", 405, 4000


class BadChunk(RelayError):
    code, title, status, close = "bad_chunk", "That is no chunk that was asked for", 400, 4000


class FileTooLarge(RelayError):
    code, title, status, close = "file_too_large", "The file is larger than the room lets through", 413, 4000


class NotFound(RelayError):
    code, title, status, close = "not_found", "There is nothing at this address", 404, 4004


class UpgradeRequired(RelayError):
    code, title, status, close = "upgrade_required", "Version 13 of the WebSocket protocol is spoken here", 426, 4000


class WrongHost(RelayError):
    code, title, status, close = "wrong_host", "This server does not answer to that host name", 421, 4000


class WrongOrigin(RelayError):
    code, title, status, close = "wrong_origin", "Pages of that origin may not connect here", 403, 4000


# Who may do what. ----------------------------------------------------------------------------------------------


class NoKey(RelayError):
    code, title, status, close = "no_key", "A key is needed: Authorization: Bearer <key>", 401, 4004


class Forbidden(RelayError):
    code, title, status, close = "forbidden", "The proof of the password is wrong or missing", 403, 4003


class OwnerOnly(RelayError):
    code, title, status, close = "owner_only", "Only the room's owner may do that", 403, 4003


class NotPermitted(RelayError):
    code, title, status, close = "not_permitted", "You may not do that on this server", 403, 4003


class AddressBlocked(RelayError):
    code, title, status, close = "blocked", "The admins of this server have blocked your address", 403, 4019


class Muted(RelayError):
    code, title, status, close = "muted", "The owner has muted you in this room", 403, 4003


# The state of a room. ------------------------------------------------------------------------------------------


class NoSuchRoom(RelayError):
    code, title, status, close = "no_such_room", "There is no such room, or the key does not fit it", 404, 4004


class AmbiguousRoom(RelayError):
    code, title, status, close = "ambiguous_room", "More than one room's id begins like that", 409, 4000


class SealedRoom(RelayError):
    code, title, status, close = "sealed_room", "The room is sealed: only its members can speak in it", 409, 4000


class NotSealed(RelayError):
    code, title, status, close = "not_sealed", "In a sealed room everything is sealed", 422, 4000


class StaleEpoch(RelayError):
    code, title, status, close = "stale_epoch", "The room has gone on to another epoch", 409, 4000


class CannotRekey(RelayError):
    code, title, status, close = "cannot_rekey", "This room cannot be rekeyed", 409, 4000


class NoSuchMessage(RelayError):
    code, title, status, close = "no_such_message", "There is no such message in this room", 404, 4004


class NoSuchInvite(RelayError):
    code, title, status, close = "no_such_invite", "There is no such invite, or it has ended", 404, 4004


class NoSuchUser(RelayError):
    code, title, status, close = "no_such_user", "There is no such user in this room", 404, 4004


class NameTaken(RelayError):
    code, title, status, close = "name_taken", "Another living room has that name", 409, 4000


class NameReserved(RelayError):
    code, title, status, close = "name_reserved", "That name is reserved for this server's admins", 409, 4000


class RoomFull(RelayError):
    code, title, status, close = "room_full", "The room is full", 503, 4009


class LobbyFull(RelayError):
    code, title, status, close = "lobby_full", "As many newcomers wait for this room as may", 503, 4009


class NotAdmitted(RelayError):
    code, title, status, close = "not_admitted", "Nobody has admitted you to the room", 403, 4018


class Denied(RelayError):
    code, title, status, close = "denied", "You were not admitted to the room", 403, 4018


class RoomClosed(RelayError):
    code, title, status, close = "room_closed", "The room is over", 404, 4010


class Kicked(RelayError):
    code, title, status, close = "kicked", "The owner has put you out of the room", 403, 4011


class Locked(RelayError):
    code, title, status, close = "locked", "The owner has locked the room to newcomers", 403, 4013


class Left(RelayError):
    code, title, status, close = "left", "You have left the room", 404, 4014


class FilesOff(RelayError):
    code, title, status, close = "files_off", "No files may be sent in this room", 403, 4003


class NoSuchFile(RelayError):
    code, title, status, close = "no_such_file", "There is no such file, or it is not for you", 404, 4004


class FidTaken(RelayError):
    code, title, status, close = "fid_taken", "Somebody else's file has that fid", 409, 4000


# Limits and the state of the server. ---------------------------------------------------------------------------


class JoinTimeout(RelayError):
    code, title, status, close = "join_timeout", "No join frame came in time", 408, 4001


class Idle(RelayError):
    code, title, status, close = "idle", "This extra connection was silent for too long", 408, 4015


class TooManyConnections(RelayError):
    code, title, status, close = "too_many_connections", "You have too many connections to this room", 429, 4016


class TooManyFiles(RelayError):
    code, title, status, close = "too_many_files", "That is more files than may be under way at once", 429, 4529


class TooManyInvites(RelayError):
    code, title, status, close = "too_many_invites", "The room has as many invites as it may", 429, 4529


class RateLimited(RelayError):
    code, title, status, close = "rate_limited", "That is too much at once", 429, 4529


class SlowMode(RelayError):
    code, title, status, close = "slow_mode", "In this room everybody waits between two messages", 429, 4529


class SlowConsumer(RelayError):
    code, title, status, close = "slow_consumer", "Your connection reads too slowly", 503, 4508


class Restarting(RelayError):
    code, title, status, close = "restarting", "The server is restarting", 503, 4500


class CannotUpgrade(RelayError):
    code, title, status, close = "cannot_upgrade", "Another process cannot take over; this one goes on", 409, 1013


class IncompatibleVersion(RelayError):
    code, title, status, close = "incompatible_version", "The installed version cannot take over connections", 409, 1013


class IncompatibleRooms(RelayError):
    code, title, status, close = "incompatible_rooms", "The installed version cannot read the rooms", 409, 1013


class Draining(RelayError):
    code, title, status, close = "draining", "The server is shutting down", 503, 1013


class Overloaded(RelayError):
    code, title, status, close = "overloaded", "The server has too much to do", 503, 1013


class RoomsFrozen(RelayError):
    code, title, status, close = "rooms_frozen", "No rooms are created on this server for now", 503, 1013


class NoPlaces(RelayError):
    code, title, status, close = "no_places", "The server has no places left for a room of that size", 503, 1013


def _leaves(kind: type[RelayError]) -> list[type[RelayError]]:
    return [leaf for sub in kind.__subclasses__() for leaf in (sub, *_leaves(sub))]


_BY_CODE: dict[str, type[RelayError]] = {leaf.code: leaf for leaf in _leaves(RelayError)}


def by_code(
    code: str,
    detail: str = "",
    *,
    retry_after_s: float | None = None,
    problems: tuple[FieldProblem, ...] = (),
) -> RelayError:
    """The error that has `code`; one that is not known becomes a plain `RelayError`."""
    kind = _BY_CODE.get(code, RelayError)
    return kind(detail, retry_after_s=retry_after_s, problems=problems)


class SettingsError(Exception):
    """The settings are wrong. `problems` holds one line a mistake: where, which key, why."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CannotListen(SettingsError):
    """A place to listen cannot be had, or not now: whoever has it may let go of it."""
