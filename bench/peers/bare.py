"""Tornado with nothing in it: the handshake of a WebSocketHandler and an empty RequestHandler, on relayd's loop."""

import asyncio
import sys

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Socket(WebSocketHandler):
    """Accepts everyone, says nothing."""

    def on_message(self, message: str | bytes) -> None:
        """Nobody speaks."""


class Empty(RequestHandler):
    """Answers with nothing."""

    def get(self) -> None:
        """Does nothing."""

    post = get


async def main() -> None:
    """Serves until it is ended."""
    application = Application([(r"/empty", Empty), (r"/.*", Socket)], log_function=lambda handler: None)
    HTTPServer(application).add_sockets(bind_sockets(int(sys.argv[1]), "127.0.0.1", backlog=4096))
    await asyncio.Event().wait()


uvloop.run(main())
