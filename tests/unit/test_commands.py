"""What clients may say: decoded as it was meant, refused with a reason, and never harmful to pass on."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from relayd.errors import ProtocolViolation
from relayd.wire import commands
from relayd.wire.commands import MAX_DEPTH, check_depth, check_numbers, check_object, decode

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
IDS = st.text(min_size=1, max_size=64)
FID = "AAECAwQFBgcICQoLDA0ODw"


def frame(**fields) -> bytes:
    return json.dumps(fields).encode()


# What is valid. -------------------------------------------------------------------------------------------------

EXAMPLES = [
    ({"type": "join"}, commands.Join()),
    (
        {"type": "join", "key": "ri_x", "session": "rs_x", "proof": "p", "since": {"epoch": "e", "seq": 41}},
        commands.Join(key="ri_x", session="rs_x", proof="p", since=commands.Since("e", 41)),
    ),
    ({"type": "admit", "id": "1", "user": "u_1"}, commands.Admit("1", "u_1")),
    ({"type": "deny", "id": "1", "user": "u_1"}, commands.Deny("1", "u_1")),
    ({"type": "deny", "id": "1", "user": "u_1", "ban": True}, commands.Deny("1", "u_1", ban=True)),
    ({"type": "kick", "id": "1", "user": "u_1"}, commands.Kick("1", "u_1")),
    ({"type": "kick", "id": "1", "user": "u_1", "ban": True}, commands.Kick("1", "u_1", ban=True)),
    ({"type": "mute", "id": "1", "user": "u_1"}, commands.Mute("1", "u_1")),
    ({"type": "unmute", "id": "1", "user": "u_1"}, commands.Unmute("1", "u_1")),
    ({"type": "promote", "id": "1", "user": "u_1"}, commands.Promote("1", "u_1")),
    ({"type": "demote", "id": "1", "user": "u_1"}, commands.Demote("1", "u_1")),
    ({"type": "remove", "id": "1", "seq": 7}, commands.Remove("1", 7)),
    ({"type": "edit", "id": "1"}, commands.Edit("1")),
    ({"type": "edit", "id": "1", "expiration_date": "usersLeave"}, commands.Edit("1", expiration_date="usersLeave")),
    (
        {"type": "edit", "id": "1", "name": "n", "max": 3, "expiration_date": 2, "locked": True, "settings": {"a": 1}},
        commands.Edit("1", name="n", max=3, expiration_date=2.0, locked=True, settings={"a": 1}),
    ),
    ({"type": "close", "id": "1"}, commands.Close("1")),
    ({"type": "accept", "fid": FID, "upto": 8}, commands.Accept(FID, 8)),
    ({"type": "accept", "fid": FID, "from": 3, "upto": 8, "id": "1"}, commands.Accept(FID, 8, 3, "1")),
    ({"type": "grant", "fid": FID, "upto": 9}, commands.Grant(FID, 9)),
    ({"type": "serve", "fid": FID, "size": 0, "chunk": 1}, commands.Serve(FID, 0, 1)),
    ({"type": "serve", "fid": FID, "size": 7, "chunk": 2, "to": "u_1"}, commands.Serve(FID, 7, 2, "u_1")),
    ({"type": "cancel", "fid": FID}, commands.Cancel(FID)),
    ({"type": "done", "fid": FID, "ok": False, "id": "1"}, commands.Done(FID, ok=False, id="1")),
    ({"type": "leave"}, commands.Leave()),
    ({"type": "ping"}, commands.Ping()),
    ({"type": "ping", "id": "1"}, commands.Ping("1")),
]


@pytest.mark.parametrize(("given_", "meant"), EXAMPLES)
def test_every_type(given_, meant):
    assert decode(frame(**given_)) == meant


def test_rekey():
    """Its parts are those of sealing's own tests; here it is one command among the others, with an `id`."""
    vectors = json.loads(Path(__file__).parents[1].joinpath("vectors", "sealing-vectors.json").read_text("utf-8"))
    part = {
        "epoch": 1,
        "verifier": vectors["rooms"][3]["verifier"],
        "check": vectors["rooms"][3]["check"],
        "boxes": {"u_0123456789abcdef": vectors["rekey"]["box"]},
        "kick": "u_fedcba9876543210",
    }
    rekey = decode(frame(type="rekey", id="r1", **part))
    assert isinstance(rekey, commands.Rekey)
    assert (rekey.id, rekey.kick, list(rekey.boxes)) == ("r1", part["kick"], list(part["boxes"]))
    for without in part:
        if without != "kick":
            with pytest.raises(ProtocolViolation, match=without):
                decode(frame(type="rekey", id="r1", **{name: part[name] for name in part if name != without}))


def test_every_type_has_an_example():
    raw = {commands.Message, commands.Signal, commands.Profile, commands.Rekey}
    assert {type(meant) for _, meant in EXAMPLES} | raw >= set(commands.Command.__args__)


@given(IDS, JSON, st.none() | st.text(max_size=32))
def test_message_keeps_its_body_as_it_came(message_id, body, to):
    """Any JSON, to the byte: clients agree on what it means, not the server."""
    text = json.dumps(body, ensure_ascii=False)
    data = b'{ "to": %b, "body" : %b , "id":%b, "type":"message"}' % (
        json.dumps(to).encode(),
        text.encode(),
        json.dumps(message_id).encode(),
    )
    message = decode(data)
    assert (message.id, bytes(message.body), message.to) == (message_id, text.encode(), to)
    check_depth(bytes(message.body))


@given(st.text(min_size=1, max_size=64), JSON)
def test_signal_and_profile_keep_what_they_carry(kind, value):
    signal = decode(frame(type="signal", kind=kind, data=value))
    assert (signal.kind, json.loads(bytes(signal.data)), signal.to) == (kind, value, None)
    assert decode(frame(type="signal", kind="typing")).data is UNSET
    profile = decode(frame(type="profile", profile=value))
    assert (json.loads(bytes(profile.profile)), profile.id) == (value, None)


# What is not. ---------------------------------------------------------------------------------------------------

REFUSED = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"\x00", "not valid JSON"),
    (b'{"type":"ping"}x', "not valid JSON"),
    (b'{"type":"ping","id":NaN}', "not valid JSON"),
    (b'{"type":"message","id":"\\ud800","body":1}', "not valid JSON"),
    (b"[]", "Expected object, got array"),
    (b"1", "Expected object, got int"),
    (b"{}", "missing required field type"),
    (b'{"type":1}', r"Expected str - at \$.type"),
    (b'{"type":"shout"}', "unknown type; known are accept, admit, cancel, close"),
    (b'{"type":"leave","now":true}', "unknown field now"),
    (b'{"type":"message","id":"1"}', "missing required field body"),
    (b'{"type":"message","body":1}', "missing required field id"),
    (b'{"type":"message","id":"","body":1}', "length >= 1"),
    (b'{"type":"message","id":7,"body":1}', "Expected str, got int"),
    (b'{"type":"signal","kind":""}', "length >= 1"),
    (b'{"type":"edit","id":"1","max":0}', "int >= 1"),
    (b'{"type":"edit","id":"1","max":1e9}', "Expected int, got float"),
    (b'{"type":"edit","id":"1","expiration_date":"a - at b"}', r"^Invalid value - at \$.expiration_date$"),
    (b'{"type":"edit","id":"1","max":2147483648}', "int <"),
    (b'{"type":"edit","id":"1","expiration_date":0}', "float > 0.0"),
    (b'{"type":"edit","id":"1","expiration_date":24.1}', "float <= 24.0"),
    (b'{"type":"edit","id":"1","locked":1}', "Expected bool"),
    (b'{"type":"edit","id":"1","settings":[]}', "Expected object"),
    (b'{"type":"join","since":{"epoch":"e","seq":-1}}', "int >= 0"),
    (b'{"type":"join","since":{"epoch":"e","seq":9007199254740992}}', "int <"),
    (b'{"type":"accept","fid":"AAECAwQFBgcICQoLDA0ODx","upto":1}', r"Expected str matching regex .* - at \$.fid"),
    (b'{"type":"accept","fid":"AAECAwQFBgcICQoLDA0O","upto":1}', r"\$.fid"),
    (b'{"type":"accept","fid":"AAECAwQFBgcICQoLDA0ODw","from":-1,"upto":1}', "int >= 0"),
    (b'{"type":"serve","fid":"AAECAwQFBgcICQoLDA0ODw","size":1,"chunk":0}', "int >= 1"),
    (b'{"type":"serve","fid":"AAECAwQFBgcICQoLDA0ODw","size":9007199254740992,"chunk":1}', "int <"),
    (b'{"type":"done","fid":"AAECAwQFBgcICQoLDA0ODw"}', "missing required field ok"),
    (b'{"type":"message","id":"1","body":1,"file":{"fid":"AAECAwQFBgcICQoLDA0ODw"}}', "missing required field size"),
    (b'{"type":"join","since":{"seq":1}}', "missing required field epoch"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_refused_with_a_reason(data, reason):
    with pytest.raises(ProtocolViolation, match=reason):
        decode(data)


@pytest.mark.parametrize(
    ("field", "most", "make"),
    [
        ("id", 64, lambda text: {"type": "close", "id": text}),
        ("to", 32, lambda text: {"type": "message", "id": "1", "body": 1, "to": text}),
        ("user", 32, lambda text: {"type": "mute", "id": "1", "user": text}),
        ("kind", 64, lambda text: {"type": "signal", "kind": text}),
        ("epoch", 64, lambda text: {"type": "join", "since": {"epoch": text, "seq": 0}}),
    ],
)
def test_length_of_every_text_is_bounded(field, most, make):
    decode(frame(**make("x" * most)))
    with pytest.raises(ProtocolViolation, match=f"length <= {most} - at .*{field}"):
        decode(frame(**make("x" * (most + 1))))


@given(st.sampled_from(["ri_secret", "ro_secret", "hello, world"]))
def test_reason_repeats_no_contents(secret):
    """A reason goes to a log or a screen: it names fields, never what was in them."""
    for data in (
        frame(type=secret),
        frame(type="join", key=[secret]),
        frame(type="edit", id="1", expiration_date=secret),
        frame(type="close", id=secret * 30),
        frame(type="edit", id="1", settings=secret),
    ):
        with pytest.raises(ProtocolViolation) as caught:
            decode(data)
        assert secret not in caught.value.detail


@given(st.binary(max_size=80))
@example(b'{"type":"message","id":"a","body":' + b"[" * 30_000)
@example(b'{"type":"message","id":"a","body":' + b"[" * 5_000 + b"]" * 5_000 + b"}")
@example(b'{"type":' + b'{"a":' * 3_000)
def test_junk_is_a_violation_and_nothing_else(data):
    with contextlib.suppress(ProtocolViolation):
        command = decode(data)
        # What the decoder still bears depends on the interpreter's recursion limit; the bound is ours.
        if isinstance(command, commands.Message):
            check_depth(bytes(command.body))
            assert data.count(b"[") < MAX_DEPTH


# Nesting. -------------------------------------------------------------------------------------------------------


def depth(value) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@st.composite
def deep(draw):
    """JSON of some depth near the limit, with much beside it."""
    value = draw(JSON)
    for _ in range(draw(st.integers(0, MAX_DEPTH + 3))):
        beside = draw(st.lists(st.sampled_from([[], {}, "[{[", '"}"', "\\", [[]]]), max_size=3))
        value = [*beside, value] if draw(st.booleans()) else {"}": beside, '\\"[': value}
    return value


@given(deep())
@example([[]] * 100)
@example(["[" * 200])
@example(['\\"' + "[" * 200 + "\\"])
@example([{"a": [[]] * 60}, "}" * 99])
def test_depth_is_exact(value):
    data = json.dumps(value).encode()
    if depth(value) > MAX_DEPTH:
        with pytest.raises(ProtocolViolation, match="nested deeper than 64 levels"):
            check_depth(data)
    else:
        check_depth(data)


@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000, b"-1e-99999", b"0." + b"1" * 5000])
def test_number_of_any_size_is_passed_on(number):
    """A reader of its own may fail on it; the server, which does not read it, must not."""
    body = b"[" + b"[]," * 100 + number + b"]"
    message = decode(b'{"type":"message","id":"1","body":%b}' % body)
    check_depth(bytes(message.body))
    assert bytes(message.body) == body


@pytest.mark.parametrize("data", [b"[" * 32_000 + b"]" * 32_000, b"[{}]," * 13_000, b'"' + b'\\"[' * 21_000 + b'"[]'])
def test_largest_frames_are_measured_in_no_time(data):
    """Whatever 64 KiB hold; the timeout of the test is generous, the square of it would not be."""
    for _ in range(20):
        try:
            check_depth(data)
        except ProtocolViolation:
            continue


# Objects. -------------------------------------------------------------------------------------------------------


def test_object_is_bounded_in_bytes_kind_and_depth():
    check_object(b'{"nick":"x"}', 12, "profile")
    with pytest.raises(ProtocolViolation, match="profile has more than 11 bytes"):
        check_object(b'{"nick":"x"}', 11, "profile")
    for other in (b"[]", b'"{}"', b"1", b"null", b""):
        with pytest.raises(ProtocolViolation, match="profile must be a JSON object"):
            check_object(other, 12, "profile")
    with pytest.raises(ProtocolViolation, match="nested deeper"):
        check_object(b'{"a":' * 65 + b"1" + b"}" * 65, 1024, "profile")
    check_object(b'{"a":' * 64 + b"1" + b"}" * 64, 1024, "profile")


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_raw_objects_begin_with_a_brace(value):
    """msgspec gives what it passes over without space around it, so the first byte tells."""
    raw = msgspec.json.decode(b'{"x": \n ' + json.dumps(value).encode() + b" }", type=dict[str, msgspec.Raw])["x"]
    with pytest.raises(ProtocolViolation):
        check_object(bytes(raw), 10**6, "x")
    raw = msgspec.json.decode(b'{"x": \n {"a" : 1} }', type=dict[str, msgspec.Raw])["x"]
    check_object(bytes(raw), 100, "x")


# Numbers. -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "1e999",
        '{"a":[1E+400]}',
        "-1e309",
        "9" * 400,
        f"[{'9' * 5000}]",
        "1" * 250 + "e99",
        "-" + "9" * 210 + ".5E99",
        "1" + "0" * 300 + "e+9",
        "1e0000000309",
        "9" * 309,
        '["",' + "1" * 310 + "]",
    ],
    ids=lambda one: one[:12],
)
def test_numbers_no_double_can_hold_are_refused(body):
    """Some readers fail at them, and would drop the whole frame: a way to keep a client out of a room."""
    with pytest.raises(ProtocolViolation, match="double"):
        check_numbers(body.encode())


@pytest.mark.parametrize("body", ["1e308", '"1e999"', '{"x":"' + "9" * 400 + '"}', "1e-999", "12345678901234567890"])
def test_other_numbers_pass(body):
    check_numbers(body.encode())


DIGITS = st.integers(1, 330).flatmap(lambda count: st.text("0123456789", min_size=count, max_size=count))
EXPONENTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.sampled_from(["", "00"]),
    st.integers(0, 700),
)
LARGEST = "17976931348623157"  # and 292 digits more: the largest double


@st.composite
def numbers(draw):
    """JSON numbers near 10^308, by digits before the point, after it and in the exponent."""
    if draw(st.booleans()):
        digits = LARGEST + draw(st.text("0123456789", min_size=0, max_size=310))
        exponent = 309 - draw(st.integers(0, 2)) - len(digits)
        at = draw(st.integers(1, len(digits)))
        text = digits[:at] + ("." + digits[at:] if digits[at:] else "") + f"e{exponent + len(digits) - at}"
        if draw(st.booleans()) and exponent >= 0:
            text = digits + "0" * exponent
    else:
        whole = draw(DIGITS).lstrip("0") or "0"
        text = whole + draw(st.one_of(st.just(""), DIGITS.map(".{}".format))) + draw(st.one_of(st.just(""), EXPONENTS))
    return draw(st.sampled_from(["", "-"])) + text


@settings(max_examples=2000, deadline=None)
@given(numbers(), st.sampled_from(["{}", '{{"a":[{{"b":{}}}]}}', '["1e999",{},"\\"{}"]', "[1,{}]"]))
def test_numbers_pass_if_a_double_holds_them(number, around):
    """Whatever passes is finite for every reader, and this project's own clients can read it."""
    body = around.format(number, "9" * 400).encode()
    if math.isinf(float(number)):
        with pytest.raises(ProtocolViolation, match="double"):
            check_numbers(body)
    else:
        check_numbers(body)
        msgspec.json.decode(body)
