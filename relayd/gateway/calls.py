"""Calls to the hub, as awaitables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relayd.bus.messages import Answer, Call, Request
from relayd.errors import FieldProblem, Overloaded, by_code

MAX_UNANSWERED = 10_000  # past it the hub is lost or drowning, and waiting longer helps nobody


class HubCalls:
    """Asks the hub.

    Args:
        send: sends a call over the bus.
        timeout_s: for the answer.
    """

    def __init__(self, send: Callable[[Call], None], timeout_s: float) -> None:
        self._send = send
        self.timeout_s = timeout_s
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no call waits for its answer."""
        return not self._waiting

    async def ask(self, request: Request) -> bytes:
        """The hub's answer, as JSON text.

        Raises:
            RelayError: what the hub said was wrong; `Overloaded` if it said nothing in time.
        """
        if len(self._waiting) >= MAX_UNANSWERED:
            raise Overloaded(retry_after_s=1)
        self._number += 1
        number = self._number
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[number] = future
        timer = loop.call_later(self.timeout_s, _give_up, future)
        try:
            self._send(Call(number, request))
            answer = await future
        finally:
            timer.cancel()
            del self._waiting[number]
        fault = answer.fault
        if fault is not None:
            problems = tuple(FieldProblem(*problem) for problem in fault.problems)
            raise by_code(fault.code, fault.detail, retry_after_s=fault.retry_after_s, problems=problems)
        return answer.body

    def on_answer(self, answer: Answer) -> None:
        """What the bus brings."""
        future = self._waiting.get(answer.number)
        if future is not None and not future.done():
            future.set_result(answer)


def _give_up(future: asyncio.Future[Answer]) -> None:
    if not future.done():
        future.set_exception(Overloaded("The server did not answer in time", retry_after_s=1))
