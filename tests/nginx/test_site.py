"""contrib/nginx/relayd.conf in a real nginx, over TLS and relayd's Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import resource
import time
import uuid

import pytest
import websockets
from conftest import Peer
from file_people import Client, File

from relayd.settings import Settings
from tests.nginx.site import FILE, HOST, NGINX, hear, said_in, say, site_with

ADMIN = FILE.parents[2] / "docs/admin.md"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")


async def test_page_rest_and_chat_over_tls():
    """Everything goes through, links say https, and plain HTTP is sent to it."""
    async with site_with() as (site, _):
        page = await site.fetch("GET", "/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "/" not in page.headers["Server"]
        named = re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode())
        answers = [await site.fetch("GET", path, Accept_Encoding="gzip") for path in named]
        assert {answer.status for answer in answers} == {200}
        assert "gzip" in {answer.headers["Content-Encoding"] for answer in answers}
        room = (await site.create()).json
        assert room["link"].startswith(f"https://{HOST}/{room['id']}#ri_")
        assert room["chat"] == f"wss://{HOST}/{room['id']}"
        assert (await site.fetch("GET", f"/{room['id']}")).body == page.body
        details = await site.fetch("GET", f"/api/v1/{room['id']}", Authorization=f"Bearer {room['invite_key']}")
        assert details.json["id"] == room["id"]
        async with site.join(room) as ann, site.join(room, origin=f"https://{HOST}") as bob:
            await say(ann, "hello")
            await hear(bob, "hello")
        assert (await site.fetch("GET", "/", Host="evil.example.com")).status == 421
        plain = http.client.HTTPConnection("127.0.0.1", site.ports["http"], timeout=30)
        with contextlib.closing(plain):
            plain.request("GET", f"/{room['id']}", headers={"Host": HOST})
            answer = plain.getresponse()
        assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}/{room['id']}")


async def test_a_page_of_another_origin_is_refused():
    """relayd sees the browser's Origin, and the host and port that the browser asked for."""
    async with site_with() as (site, _):
        room = (await site.create()).json
        own = f"https://127.0.0.1:{site.ports['https']}"
        url = f"{own}/{room['id']}".replace("https", "wss")
        async with websockets.connect(url, ssl=site.context, origin=own):
            pass
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with site.join(room, origin="https://evil.example.com"):
                pass
        assert refused.value.response.status_code == 403


async def test_limits_count_the_address_that_nginx_saw():
    """Whatever a client says of its address, in whatever header; and another address is somebody else."""
    async with site_with(limits__create_rate=2) as (site, _):
        forged = [f"203.0.113.{number}" for number in range(3)]
        answers = [
            await site.create(X_Forwarded_For=f"10.0.0.1, {one}", Forwarded=f"for={one}", X_Real_IP=one)
            for one in forged
        ]
        assert [answer.status for answer in answers] == [201, 201, 429]
        assert answers[2].json["code"] == "rate_limited"
        assert (await site.create(source="127.0.0.2")).status == 201


async def test_a_forged_host_is_in_no_link():
    """X-Forwarded-Host of a client does not reach relayd, which believes what this proxy says."""
    async with site_with(public_url="", allowed_hosts=[HOST]) as (site, _):
        forwarded = "host=localhost;proto=http"
        room = (await site.create(X_Forwarded_Host="localhost", X_Forwarded_Proto="http", Forwarded=forwarded)).json
        assert room["link"].startswith(f"https://{HOST}/")


async def test_nothing_of_a_clients_forwarded_arrives():
    """Nor would anything if relayd looked there first: the site leaves it out."""
    silent = {"proxy_set_header X-Forwarded-For   $remote_addr;": 'proxy_set_header X-Forwarded-For "";'}
    async with site_with(silent, limits__create_rate=1) as (site, _):
        answers = [await site.create(Forwarded=f"for=203.0.113.{number}") for number in range(2)]
        assert [answer.status for answer in answers] == [201, 429]


# As if from any address; so that two requests of an address are fine, and a third is refused for a minute.
ANY_ADDRESS = {
    "limit_req_log_level info;": "limit_req_log_level info; set_real_ip_from 127.0.0.1; real_ip_header X-Address;",
    "rate=20r/s": "rate=1r/m",
    "burst=600": "burst=1",
}


async def test_nginx_counts_what_relayd_counts():
    """Of IPv6 a /64, and IPv4 as itself, also where nginx shows it as IPv6."""
    async with site_with(ANY_ADDRESS) as (site, _):

        async def statuses(*addresses):
            paths = [await site.fetch("GET", "/api/v1/openapi.json", X_Address=one) for one in addresses]
            return [answer.status for answer in paths]

        assert await statuses("2001:db8::1", "2001:db8::a:a:a:a", "2001:db8::2") == [200, 200, 429]
        assert await statuses("2001:db8:0:1::1", "2001:db8:1::1", "2001:db9::1") == [200, 200, 200]
        assert await statuses("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201") == [200, 200, 429]
        assert await statuses("::ffff:192.0.2.2", "192.0.2.10", "::ffff:192.0.2.10") == [200, 200, 200]
        assert await statuses("64:ff9b::192.0.2.3", "64:ff9b::192.0.2.4", "192.0.2.3", "192.0.2.3") == [
            200,
            200,
            200,
            429,
        ]
        # A new line among the bytes, which a dot in a regular expression does not match by itself.
        assert await statuses("2001:a0a:a:a::a", "2001:a0a:a:a:a:a:a:a0a", "2001:a0a:a:a::1") == [200, 200, 429]


async def test_one_socket_for_ipv4_and_ipv6():
    """As some write it: nginx shows and sends ::ffff:127.0.0.2, which is the address that it is."""
    one_each = {"limit_conn relayd_chats 1000;": "limit_conn relayd_chats 1;"}
    both = "[::]:{port} ssl ipv6only=off"
    async with site_with(one_each, listen=both, limits__create_rate=1) as (site, _):
        sources = ["127.0.0.1", "127.0.0.2", "127.0.0.2"]
        answers = [await site.create(source=source) for source in sources]
        assert [answer.status for answer in answers] == [201, 201, 429]
        room = answers[0].json
        async with site.join(room, local_addr=("127.0.0.2", 0)), site.join(room, local_addr=("127.0.0.3", 0)):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with site.join(room, local_addr=("127.0.0.2", 0)):
                    pass
            assert refused.value.response.status_code == 429


async def test_behind_a_content_delivery_network():
    """By the two lines of docs/admin.md each client counts by itself, and none who comes past the network forges."""
    lines = re.findall(r"^(?:set_real_ip_from|real_ip_header) .*;", ADMIN.read_text(), re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["set_real_ip_from", "real_ip_header"]
    lines[0] = "set_real_ip_from 127.0.0.1;"
    taken = {"server_tokens off;": f"server_tokens off; {' '.join(lines)}"}
    async with site_with(taken, limits__create_rate=1) as (site, _):

        async def create(address, source="127.0.0.1"):
            return (await site.create(source=source, CF_Connecting_IP=address, X_Forwarded_For=address)).status

        clients = ["203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"]
        assert [await create(client) for client in clients] == [201, 201, 201, 429]
        assert [await create(client, "127.0.0.2") for client in ("203.0.113.8", "203.0.113.9")] == [201, 429]


async def test_a_ban_bars_one_address():
    """Somebody banned is kept out with another session, and others are not."""
    async with site_with() as (site, _):
        room = (await site.create()).json
        async with site.join(room, local_addr=("127.0.0.2", 0)) as bob:
            users = await site.fetch("GET", f"/api/v1/{room['id']}/users", Authorization=f"Bearer {room['owner_key']}")
            path = f"/api/v1/{room['id']}/users/{users.json['users'][0]['id']}?ban=true"
            assert (await site.fetch("DELETE", path, Authorization=f"Bearer {room['owner_key']}")).status == 204
            await asyncio.wait_for(bob.wait_closed(), 30)
        with pytest.raises(websockets.ConnectionClosedError) as refused:
            async with site.join(room, local_addr=("127.0.0.2", 0)):
                pass
        assert refused.value.rcvd.code == 4004
        async with site.join(room, local_addr=("127.0.0.3", 0)) as carol:
            await say(carol, "still here")


async def test_silence_lasts_as_long_as_pings_come():
    """At a thirtieth of the real times: pings of relayd keep a quiet chat, and without them it is cut."""
    shorter = {"proxy_read_timeout 90s": "proxy_read_timeout 3s", "proxy_send_timeout 90s": "proxy_send_timeout 3s"}

    async def heard(ping_interval):
        async with site_with(shorter, timing__ping_interval=ping_interval) as (site, _):
            room = (await site.create()).json
            begun = time.monotonic()
            async with site.join(room) as chat:
                while (left := begun + 6 - time.monotonic()) > 0:
                    with contextlib.suppress(TimeoutError):
                        said_in(await asyncio.wait_for(chat.recv(), left))
                await say(chat, "at last")
                return "at last"

    with_pings, without = await asyncio.gather(heard(25 / 30), heard(25), return_exceptions=True)
    assert with_pings == "at last"
    assert isinstance(without, websockets.ConnectionClosed)


def test_the_real_times_fit():
    """Three pings, each as late as it may be, before the site's timeout; the test above is true to these."""
    site = FILE.read_text()
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        assert int(re.search(rf"^ *{name} (\d+)s;", site, re.MULTILINE)[1]) >= 3 * 1.2 * Settings().timing.ping_interval


async def test_a_reload_of_nginx_cuts_nobody_off():
    """Chats go on in the old worker, and newcomers find the new one."""
    async with site_with() as (site, _):
        room = (await site.create()).json
        async with site.join(room) as ann:
            before = site.workers()
            await site.run("-s", "reload")
            async with asyncio.timeout(30):
                while not site.workers() - before:
                    await asyncio.sleep(0.02)
            async with site.join(room) as bob:
                await say(bob, "newly here")
                await hear(ann, "newly here")
                await say(ann, "still here")
                await hear(bob, "still here")


async def test_too_many_requests_are_told_in_the_words_of_relayd():
    """nginx's own refusals are problems (RFC 9457) with a time to come back."""
    fewer = {"burst=600": "burst=2", "relayd_chats 1000": "relayd_chats 2"}
    async with site_with(fewer) as (site, _):
        answers = [await site.fetch("GET", "/api/v1/openapi.json") for _ in range(3)]
        answers += await asyncio.gather(*(site.fetch("GET", "/api/v1/openapi.json") for _ in range(20)))
        refused = next(answer for answer in answers if answer.status != 200)
        assert_problem(refused, 429, "rate_limited")
        await asyncio.sleep(0.5)
        room = (await site.create(source="127.0.0.2")).json
        async with site.join(room), site.join(room):
            with pytest.raises(websockets.InvalidStatus) as third:
                async with site.join(room):
                    pass
        assert third.value.response.status_code == 429


async def test_handshakes_are_bounded():
    """So many of one address, with a problem past them; requests for the page and other addresses are not affected."""
    fewer = {
        "relayd_handshakes:4m rate=20r/s": "relayd_handshakes:4m rate=1r/m",
        "handshakes burst=600": "handshakes burst=2",
    }
    async with site_with(fewer) as (site, _):
        room = (await site.create()).json
        for _ in range(3):
            async with site.join(room):
                pass
        with pytest.raises(websockets.InvalidStatus) as fourth:
            async with site.join(room):
                pass
        assert fourth.value.response.status_code == 429
        assert json.loads(fourth.value.response.body)["code"] == "rate_limited"
        assert (await site.fetch("GET", f"/{room['id']}")).status == 200
        async with site.join(room, local_addr=("127.0.0.2", 0)):
            pass


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/" + "a" * 9_000, {}),
        ("/", {"X": "x" * 9_000}),
        ("/", {"If_None_Match": "x" * 60_000}),
        ("/api/v1/openapi.json", {f"X{number}": "x" * 1_000 for number in range(12)}),
        ("/", {f"X{number}": "x" for number in range(3_000)}),
    ],
)
async def test_large_heads_are_refused(path, headers):
    """In the words of relayd."""
    async with site_with() as (site, _):
        answer = await site.fetch("GET", path, **headers)
        assert (answer.status, answer.headers["Content-Type"]) == (431, "application/problem+json")
        assert (answer.json["status"], answer.json["code"]) == (431, "head_too_large")
        assert "Strict-Transport-Security" in answer.headers


async def test_a_long_cookie_passes():
    """Other sites of a domain leave some with browsers, who send them here, too."""
    async with site_with() as (site, _):
        assert (await site.fetch("GET", "/", Cookie="x" * 7_000)).status == 200


async def test_heads_that_do_not_end():
    """nginx closes them after a while."""
    async with site_with({"client_header_timeout 15s;": "client_header_timeout 2s;"}) as (site, _):
        port = site.ports["https"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=site.context, server_hostname=HOST)
        writer.write(b"GET / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\nX: ")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


@pytest.mark.slow
async def test_a_school_behind_one_address():
    """300 people open the page, ask for the room and join it, all at the same moment."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("needs 4,096 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with site_with(worker_connections=4096) as (site, _), contextlib.AsyncExitStack() as chats:
            json_type = {"Content_Type": "application/json"}
            room = (await site.fetch("POST", "/api/v1/room", body=b'{"max":300}', source="127.0.0.2", **json_type)).json

            async def come():
                for path in (f"/{room['id']}", "/web/style.css"):
                    assert (await site.fetch("GET", path)).status == 200
                key = {"Authorization": f"Bearer {room['invite_key']}"}
                assert (await site.fetch("GET", f"/api/v1/{room['id']}", **key)).status == 200
                await chats.enter_async_context(site.join(room, open_timeout=50))

            await asyncio.gather(*(come() for _ in range(300)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def assert_problem(answer, status, code):
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json | {"title": "", "detail": ""} == {
        "type": "about:blank", "title": "", "status": status, "detail": "", "code": code,
    }  # fmt: skip
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Strict-Transport-Security" in answer.headers


async def test_without_relayd_it_says_come_back():
    """A problem with 503, which clients of relayd know; and no log has the room that was asked for."""
    async with site_with({"server unix:/run/relayd/http.sock": "server unix:/run/relayd/nobody.sock"}) as (site, _):
        assert_problem(await site.create(), 503, "restarting")
        assert_problem(await site.fetch("GET", f"/{uuid.uuid4()}"), 503, "restarting")
        assert_problem(await site.fetch("GET", "/api/v1/openapi.json"), 503, "restarting")
        assert site.log("relayd-error.log") == ""


async def test_out_of_connections_it_says_come_back():
    """Each chat takes two of nginx's; past them the same problem, and no log has the room that was asked for."""
    async with site_with(worker_connections=12) as (site, _), contextlib.AsyncExitStack() as chats:
        room = (await site.create()).json

        async def join_until_refused():
            for _ in range(12):
                await chats.enter_async_context(site.join(room))

        with pytest.raises(websockets.InvalidStatus) as refused:
            await join_until_refused()
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body)["code"] == "restarting"
        assert site.log("relayd-error.log") == ""


async def test_logs_have_neither_rooms_nor_addresses():
    """Nor has the log of errors, when requests are refused."""
    fewer = {"burst=600": "burst=1"}
    async with site_with(fewer) as (site, _):
        room = (await site.create()).json
        async with site.join(room):
            pass
        await asyncio.gather(*(site.fetch("GET", f"/api/v1/{room['id']}") for _ in range(5)))
        site.master.terminate()
        await site.master.wait()
        lines = site.log("relayd.log").splitlines()
        line = re.compile(r"\S+ (GET|POST) (page|api|room) \d{3} \d+ [\d.]+")
        assert len(lines) == 7
        assert [one for one in lines if not line.fullmatch(one)] == []
        assert {line.fullmatch(one)[2] for one in lines} >= {"api", "room"}
        assert site.log("relayd-error.log") == ""


async def test_no_body_reaches_a_disk():
    """nginx says so at `warn` when it puts one into a file; and what is too large is relayd's to refuse."""
    every_word = {"error_log /var/log/nginx/relayd-error.log emerg;": "error_log /var/log/nginx/relayd-error.log info;"}
    async with site_with(every_word) as (site, _):
        fields = json.dumps({"name": "x" * 5_000_000}).encode()
        refused = await site.fetch("POST", "/api/v1/room", body=fields, Content_Type="application/json")
        assert (refused.status, refused.json["code"]) == (413, "too_large")
        assert "temporary file" not in site.log("relayd-error.log")


async def test_files_go_through():
    """Every byte, while people chat beside it; and none of it is put on a disk."""
    every_word = {"error_log /var/log/nginx/relayd-error.log emerg;": "error_log /var/log/nginx/relayd-error.log info;"}
    async with site_with(every_word) as (site, _):
        room = (await site.create()).json
        async with site.join(room) as ann, site.join(room) as bob:
            sender, receiver = Client(Peer(ann)), Client(Peer(bob))
            file = File(os.urandom(5_000_000), chunk=61_440)
            await sender.offer(file)
            await receiver.accept(file)
            await receiver.peer.say("between", "between chunks")
            await sender.hear("message", id="between")
            assert await receiver.has(file) == file.data
        assert "temporary file" not in site.log("relayd-error.log")


async def test_nginx_finds_nothing_wrong():
    """`nginx -t`, without a warning."""
    async with site_with() as (site, _):
        await site.run("-t", "-q")
        assert "[warn]" not in site.log("start.log")
