"""The way that clients take: whether `public_url` leads here, and whether their addresses arrive."""

from __future__ import annotations

import http.client
import json
import secrets
import socket as sockets
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from relayd.cli.ctl_client import Control, path
from relayd.cli.doctor.finding import OK, PROBLEM, WARNING, Finding, Patient

TIMEOUT_S = 5.0
EXPIRES_SOON_S = 14 * 86_400  # certificates of 90 days are renewed 30 days before their end
_TRIES = 5  # a worker may hear of a token a moment later than we do
_FORGED = "192.0.2.66"  # of a network that has no machines (RFC 5737)
_FORGED_BY_RFC_7239 = f"for={_FORGED}"
_PASSES_ON = "passes on Forwarded as clients send it"
_OVERWRITE, _CLEAR = "proxy_set_header X-Forwarded-For $remote_addr;", 'proxy_set_header Forwarded "";'
_UNREACHED = "is relayd there, and does the proxy_pass lead to where it listens?"


class Answer(NamedTuple):
    """What came back: status and body; our own end; and the certificate's last second, over TLS."""

    status: int
    body: bytes
    own: tuple[str, int]
    expires_at: float | None


def public_url(patient: Patient) -> Iterator[Finding]:
    """Goes there, with a forged address in each header that may hold one, and asks how it arrived."""
    text = patient.settings["public_url"]
    if not text:
        what = "is not set: links carry whatever host each request names"
        yield Finding("public_url", WARNING, what, 'public_url = "https://your.host"')
        return
    if not patient.runs:
        return
    url, token = urlsplit(text), Control(patient.socket).request("POST", path("probe"))["token"]
    try:
        answer = _ask(url, token)
    except ssl.SSLCertVerificationError as refused:
        yield Finding("public_url", PROBLEM, f"{text}: {refused.verify_message}", "renew the proxy's certificate")
        return
    except (OSError, http.client.HTTPException) as failed:
        reason = getattr(failed, "strerror", None) or str(failed) or type(failed).__name__
        do = "does its name lead here, and does the proxy run?"
        yield Finding("public_url", PROBLEM, f"{text} does not answer: {reason}", do)
        return
    yield from _certificate(answer)
    seen = _seen(answer.body) if answer.status == 200 else None
    if seen is None:
        yield _stranger(text, answer.status)
        return
    yield Finding("public_url", OK, f"{text} leads here")
    direct = (seen["peer"], seen["port"]) == answer.own
    yield judge(seen, direct=direct)
    if not direct and seen["trusted"] and seen["forwarded"] and _FORGED in seen.get("rfc7239", ""):
        what = f"the proxy {_PASSES_ON}; it is not read as long as there is an X-Forwarded-For"
        yield Finding("forwarded", WARNING, what, f"in the proxy: {_CLEAR}")


def judge(seen: Mapping[str, Any], *, direct: bool) -> Finding:
    """What a client's address is taken for, given how a request that forged one arrived.

    Args:
        seen: what relayd says of it.
        direct: nobody was in between.
    """
    peer, forwarded, trusted = seen["peer"], seen["forwarded"], seen["trusted"]
    # A relayd of an older version does not look at Forwarded.
    rfc7239, unreadable = seen.get("rfc7239", ""), seen.get("unreadable", "")
    said = forwarded or rfc7239  # what counts
    overwrite = f"in the proxy: {_OVERWRITE}"
    remove = "in the proxy: remove X-Forwarded-For of clients" if rfc7239 and _FORGED not in rfc7239 else overwrite
    cases: tuple[tuple[bool, str, str, str], ...] = (
        (
            direct and not trusted,
            *(OK, "clients come without a proxy, and a forged address is not believed", ""),
        ),
        (
            direct,
            *(WARNING, f"clients come without a proxy, and {peer} may forge addresses as trusted_proxies names it"),
            "let public_url lead to the proxy, or take it from trusted_proxies",
        ),
        (
            not trusted,
            *(PROBLEM, f"all people have the proxy's address, {peer}: limits and bans count them as one"),
            f'trusted_proxies = ["{peer}"]',
        ),
        (
            bool(unreadable),
            *(PROBLEM, f"{unreadable} of the proxy ({said}) has no address: limits count all people as one"),
            overwrite,
        ),
        (
            not said,
            *(PROBLEM, "the proxy does not say who comes: limits count all people as one", overwrite),
        ),
        (
            forwarded == _FORGED,
            *(PROBLEM, "the proxy passes on what clients say: anybody can forge an address", remove),
        ),
        (
            said == _FORGED_BY_RFC_7239,
            *(PROBLEM, f"the proxy does not say who comes, and {_PASSES_ON}: anybody can forge an address"),
            f"{overwrite} {_CLEAR}",
        ),
        (
            _FORGED in said,
            *(WARNING, "the proxy adds to what clients say, and does not replace it", overwrite),
        ),
        (True, OK, f"the proxy says who comes ({said}), and is believed", ""),
    )
    return next(Finding("addresses", state, what, do) for holds, state, what, do in cases if holds)


def _ask(url: SplitResult, token: str) -> Answer:
    for attempt in range(_TRIES):
        answer = _ask_once(url, token)
        if answer.status != 200 or _seen(answer.body) is not None:
            break
        time.sleep(0.1 * attempt)
    return answer


def _ask_once(url: SplitResult, token: str) -> Answer:
    host, secure = url.hostname or "", url.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, url.port, timeout=TIMEOUT_S)
    forged = {"X-Forwarded-For": _FORGED, "Forwarded": _FORGED_BY_RFC_7239}
    headers = {"Authorization": f"Bearer {token}", **forged}
    try:
        connection.connect()
        own = connection.sock.getsockname()[:2]
        expires_at = _last_second(connection.sock) if secure else None
        # Not for a cache to answer, if there should be one.
        connection.request("GET", f"/healthz?{secrets.token_hex(4)}", headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(65_536), own, expires_at)
    finally:
        connection.close()


def _last_second(socket: sockets.socket) -> float | None:
    certificate = socket.getpeercert() if isinstance(socket, ssl.SSLSocket) else None
    return ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else None


def _certificate(answer: Answer) -> Iterator[Finding]:
    if answer.expires_at is None:
        return
    left_s = answer.expires_at - time.time()
    days = f"good for {left_s / 86_400:.0f} days"
    if left_s < EXPIRES_SOON_S:
        yield Finding("certificate", WARNING, f"only {days}", "renew it; is its timer running?")
    else:
        yield Finding("certificate", OK, days)


def _stranger(url: str, status: int) -> Finding:
    """Somebody answered, and it was not this relayd, or not as it should be."""
    reasons = {
        200: ("is not this relayd, or a cache in front of it", "does the proxy_pass lead to where it listens?"),
        421: ("reaches relayd under another name", "in the proxy: proxy_set_header Host $http_host;"),
        502: ("reaches a proxy that does not reach relayd", _UNREACHED),
        504: ("reaches a proxy that waits for relayd in vain", _UNREACHED),
    }
    what, do = reasons.get(status, (f"answers with status {status}", "/healthz must lead to relayd"))
    return Finding("public_url", PROBLEM, f"{url} {what}", do)


def _seen(body: bytes) -> Mapping[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    seen = answer.get("seen") if isinstance(answer, dict) else None
    return seen if isinstance(seen, dict) else None
