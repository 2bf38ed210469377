"""The site for nginx that docs/admin.md shows, in a real nginx."""

import asyncio
import contextlib
import json
import shutil
import socket

import pytest
import websockets
from conftest import relay_with
from fences import ROOT, fences
from tornado.httpclient import AsyncHTTPClient

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (apt-get install nginx)")


@contextlib.asynccontextmanager
async def nginx(directory, relay):
    """An nginx of its own with the site as it is shown; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = next(fence.text for fence in fences(ROOT / "docs/admin.md") if fence.language == "nginx")
    for shown, real in (
        ("127.0.0.1:8443", f"127.0.0.1:{port}"),
        ("http://127.0.0.1:8080", relay.base),
        ("/var/log/nginx", str(directory)),
    ):
        assert shown in site
        site = site.replace(shown, real)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    (directory / "nginx.conf").write_text(f"pid {directory}/pid;\nevents {{}}\nhttp {{\n{places}\n{site}}}\n")
    process = await asyncio.create_subprocess_exec(
        "nginx", "-c", f"{directory}/nginx.conf", "-e", f"{directory}/error.log", "-g", "daemon off;"
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_the_site_for_nginx_works(tmp_path):
    """REST and chat go through; the client's address is the client's, whatever it says of itself."""
    settings = {"public_url": "https://chat.example.org", "trusted_proxies": ["127.0.0.1"], "limits__create_rate": 2}
    tmp_path.chmod(0o755)  # nginx's workers are another user's
    async with relay_with(**settings) as relay, nginx(tmp_path, relay) as port:
        http = AsyncHTTPClient(force_instance=True)
        headers = {"Host": "chat.example.org"}

        async def create(forged):
            forgery = {"X-Forwarded-For": forged, "Connection": "close"}
            return await http.fetch(
                f"http://127.0.0.1:{port}/api/v1/room",
                method="POST", body=b"", headers=headers | forgery, raise_error=False,
            )  # fmt: skip

        created = await create("203.0.113.1")
        room = json.loads(created.body)
        assert room["link"].startswith(f"https://chat.example.org/{room['id']}#")
        assert (await create("203.0.113.2")).code == 201
        # Two a minute from one address; three forged ones are still one.
        assert (await create("203.0.113.3")).code == 429
        async with websockets.connect(
            f"ws://chat.example.org/{room['id']}", host="127.0.0.1", port=port, compression=None, proxy=None
        ) as chat:
            await chat.send(json.dumps({"type": "join", "key": room["invite_key"]}))
            assert json.loads(await chat.recv())["type"] == "joined"
        http.close()
    assert (tmp_path / "relayd.log").read_text() == ""
