"""The description of REST, held against the running server by schemathesis: what it says is what happens."""

import asyncio
import contextlib
import itertools
import json
import re
import threading
import urllib.request

import pytest
import schemathesis
import uvloop
from conftest import problem
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from websockets.sync.client import connect

from relayd.daemon import running
from relayd.settings import load
from relayd.startup import Start

# The description knows no server's limits, so this one has none.
NONE = ("create_rate", "create_rate_per_hour", "join_rate", "max_rooms", "max_places", "max_members")
LIMITS = {"listen": ["127.0.0.1:0"], "rooms.max_file": 2**40} | {f"limits.{name}": 0 for name in NONE}


@contextlib.contextmanager
def daemon_in_a_thread(directory):
    """The address of a daemon that runs on a loop of its own."""
    up, addresses = threading.Event(), []
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()

    async def serve():
        async with running(Start(load(None, {}, LIMITS | {"control": f"{directory}/control.sock"}))) as daemon:
            addresses.extend(daemon.addresses)
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(10)
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def create(base):
    """A fresh room."""
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/room", method="POST"), timeout=20) as answer:
        return json.load(answer)


def invite_to(base, room):
    """The id of an invite of the room."""
    headers = {"Authorization": f"Bearer {room['owner_key']}"}
    request = urllib.request.Request(f"{base}/api/v1/{room['id']}/invites", method="POST", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["id"]


def someone_in(base, room):
    """The id of a user who has just come."""
    with connect(f"{base.replace('http', 'ws')}/{room['id']}", compression=None) as socket:
        socket.send(json.dumps({"type": "join", "key": room["invite_key"]}))
        return json.loads(socket.recv(5))["you"]["id"]


def owner_of(base):
    """Who is the owner of a room that was made for one case, with a user in it."""

    class Owner:
        def get(self, case, context):
            return create(base)

        def set(self, case, room, context):
            if "room" in (case.path_parameters or {}):
                case.path_parameters["room"] = room["id"]
            if "user_id" in (case.path_parameters or {}):
                case.path_parameters["user_id"] = someone_in(base, room)
            if "invite_id" in (case.path_parameters or {}):
                case.path_parameters["invite_id"] = invite_to(base, room)
            case.headers["Authorization"] = f"Bearer {room['owner_key']}"

    return Owner


NUMBERS, PASSWORDS = itertools.count(1), itertools.count(1)


def follow_the_rules_of_names(context, case, kwargs):
    """Gives a body that is meant to be right what no JSON Schema can ask for: a name that is one, a time to come."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or not isinstance(case.body, dict):
        return
    if isinstance(case.body.get("name"), str):
        case.body["name"] = f"name {next(NUMBERS) // 2}"  # every other is taken
    if "password" in case.body and next(PASSWORDS) > 2:
        del case.body["password"]  # each costs what makes guessing dear
    if isinstance(case.body.get("expiration_date"), float):
        case.body["expiration_date"] = max(case.body["expiration_date"], 0.01)


def failures(schema):
    """What schemathesis finds with all of its checks, each once."""
    schema.config.generation.update(max_examples=15)
    schemathesis.hook("before_call")(follow_the_rules_of_names)
    found = set()
    try:
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                checks = [check for checks in event.recorder.checks.values() for check in checks]
                failed = [check.failure_info.failure for check in checks if check.failure_info is not None]
                told = {f"{failure.operation}: {failure.title}: {failure.message}" for failure in failed}
                # The protocol wants it so: a key that does not fit gets what no room gets.
                found |= {
                    text for text in told if "(invalid credentials provided)" not in text or "got `404" not in text
                }
            elif isinstance(event, events.NonFatalError):
                found.add(f"{event.label}: {event.value}")
    finally:
        schemathesis.hooks.unregister(follow_the_rules_of_names)
    return found


def description(base):
    """The schema as it is served."""
    return schemathesis.openapi.from_url(f"{base}/api/v1/openapi.json", config=SchemathesisConfig(seed=1))


def test_without_keys(tmp_path):
    """A stranger who tries everything finds only answers that are described."""
    with daemon_in_a_thread(tmp_path) as base:
        schema = description(base)
        # The owner tries these as well; of a stranger they would learn 401 a few hundred times.
        schema.config.phases.coverage.enabled = False
        assert failures(schema) == set()


@pytest.mark.slow
def test_with_keys(tmp_path):
    """An owner who tries everything, too."""
    with daemon_in_a_thread(tmp_path) as base:
        schema = description(base)
        schema.auth(refresh_interval=None)(owner_of(base))
        assert failures(schema) == set()


async def test_served(relay):
    """The description is OpenAPI 3.1 in JSON, and names every address of REST."""
    response = await relay.request("GET", "/api/v1/openapi.json")
    assert (response.code, response.headers["Content-Type"]) == (200, "application/json")
    told = json.loads(response.body)
    assert told["openapi"].startswith("3.1")
    assert set(told["paths"]) == {
        "/api/v1/room",
        "/api/v1/openapi.json",
        "/api/v1/{room}",
        "/api/v1/{room}/users",
        "/api/v1/{room}/users/{user_id}",
        "/api/v1/{room}/invite",
        "/api/v1/{room}/invites",
        "/api/v1/{room}/invites/{invite_id}",
    }
    named = set(re.findall(r'"#/components/schemas/(\w+)"', response.body.decode()))
    assert named <= set(told["components"]["schemas"])
    assert set(told["components"]["schemas"]["CreateInviteForm"]["properties"]) == {"uses", "expires", "label"}
    problem(await relay.request("POST", "/api/v1/openapi.json", body=""), 405)
