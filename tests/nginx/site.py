"""The site of contrib/nginx in a real nginx: on ports, files and a socket of the test's own, else as it is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import shutil
import socket as sockets
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import websockets
from conftest import Relay, relay_with
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FILE = Path(__file__).parents[2] / "contrib/nginx/relayd.conf"
HOST = "chat.example.org"
NGINX = shutil.which("nginx")


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """A running nginx in front of a relayd."""

    def __init__(self, directory: Path, ports: dict[str, int], master: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.ports = ports
        self.master = master
        self.context = ssl.create_default_context(cafile=directory / "fullchain.pem")

    def _fetch(self, method: str, path: str, body: bytes | None, headers: dict[str, str], source: str) -> Answer:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.ports["https"], context=self.context, source_address=(source, 0), timeout=30
        )
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers={"Host": HOST} | headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    async def fetch(
        self, method: str, path: str, *, body: bytes | None = None, source: str = "127.0.0.1", **headers: str
    ) -> Answer:
        """A request over TLS, from that address of the machine."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await asyncio.to_thread(self._fetch, method, path, body, named, source)

    async def create(self, **kwargs: Any) -> Answer:
        """A room, made over REST."""
        return await self.fetch("POST", "/api/v1/room", body=b"", **kwargs)

    @contextlib.asynccontextmanager
    async def join(self, room: dict[str, Any], **kwargs: Any) -> AsyncIterator[websockets.ClientConnection]:
        """A chat over TLS, joined."""
        # The certificate is the host's; the connection goes to this nginx.
        url = f"wss://{HOST}/{room['id']}"
        where = {"host": "127.0.0.1", "port": self.ports["https"], "server_hostname": HOST}
        async with websockets.connect(url, ssl=self.context, compression=None, proxy=None, **where, **kwargs) as chat:
            await chat.send(json.dumps({"type": "join", "key": room["invite_key"]}))
            assert json.loads(await asyncio.wait_for(chat.recv(), 30))["type"] == "joined"
            yield chat

    async def run(self, *arguments: str) -> None:
        """nginx with that command line on this configuration, to its end."""
        process = await asyncio.create_subprocess_exec(*_command(self.directory), *arguments)
        assert await process.wait() == 0

    def workers(self) -> set[int]:
        """Process ids of nginx's workers that take new connections or still have old ones."""
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return set(map(int, children.read_text().split()))

    def log(self, name: str) -> str:
        return (self.directory / name).read_text()


def said_in(frame: str) -> str | None:
    """What a message says; None for other frames."""
    told = json.loads(frame)
    return told["body"] if told["type"] == "message" else None


async def hear(chat: websockets.ClientConnection, body: str) -> None:
    """Waits for that to be said."""
    async with asyncio.timeout(30):
        while said_in(await chat.recv()) != body:
            pass


async def say(chat: websockets.ClientConnection, body: str) -> None:
    """Says it, and waits for it to be heard."""
    await chat.send(json.dumps({"type": "message", "id": body, "body": body}))
    await hear(chat, body)


@contextlib.asynccontextmanager
async def site_with(
    changes: dict[str, str] | None = None,
    *,
    worker_connections: int = 512,
    listen: str = "127.0.0.1:{port} ssl",
    **settings: Any,
) -> AsyncIterator[tuple[Site, Relay]]:
    """The site and a relayd behind it; `changes` are made to the site's text, and must find what they change."""
    # Not in tmp_path, which is one user's: nginx's workers are another's.
    directory = Path(tempfile.mkdtemp(prefix="relayd-nginx-"))
    directory.chmod(0o755)
    try:
        flags = {"public_url": f"https://{HOST}"} | settings
        relay_there = relay_with(listen=[f"unix:{directory}/http.sock"], **flags)
        async with relay_there as relay, _nginx(directory, changes or {}, worker_connections, listen) as site:
            yield site, relay
    finally:
        shutil.rmtree(directory)


def placed(
    directory: Path, ports: dict[str, int], changes: dict[str, str], listen: str = "127.0.0.1:{port} ssl"
) -> str:
    """The site's text with the test's own places in it."""
    text = FILE.read_text()
    places = {
        "unix:/run/relayd/": f"unix:{directory}/",
        "listen 80;": f"listen 127.0.0.1:{ports['http']};",
        "listen 443 ssl;": f"listen {listen.format(port=ports['https'])};",
        "listen [::]:80;": "",
        "listen [::]:443 ssl;": "",
        f"/etc/letsencrypt/live/{HOST}": str(directory),
        "/var/log/nginx": str(directory),
    }
    for shown, real in (changes | places).items():
        assert shown in text, shown
        text = text.replace(shown, real)
    return text


def _command(directory: Path) -> tuple[str, ...]:
    return (str(NGINX), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/start.log")


@contextlib.asynccontextmanager
async def _nginx(directory: Path, changes: dict[str, str], worker_connections: int, listen: str) -> AsyncIterator[Site]:
    ports = _free_ports("http", "https")
    (directory / "mime.types").write_text("types { application/json json; }\n")
    write_certificate(directory)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"pid {directory}/pid;\nworker_processes 1;\nevents {{ worker_connections {worker_connections}; }}\n"
        f"http {{\n{temporary}\ninclude {directory}/mime.types;\n"
        f"{placed(directory, ports, changes, listen)}}}\n"
    )
    master = await asyncio.create_subprocess_exec(*_command(directory), "-g", "daemon off;")
    try:
        async with asyncio.timeout(30):
            while not _answers(ports["https"]):
                assert master.returncode is None, (directory / "start.log").read_text()
                await asyncio.sleep(0.02)
        yield Site(directory, ports, master)
    finally:
        if master.returncode is None:
            master.terminate()
        await master.wait()


def _free_ports(*names: str) -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        probes = {name: stack.enter_context(sockets.socket()) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), sockets.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def write_certificate(directory: Path) -> None:
    """A certificate that signs itself, for the host and for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "privkey.pem").write_bytes(private)
