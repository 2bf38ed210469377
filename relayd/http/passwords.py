"""Plain passwords of new rooms: turned into access parts in threads, a few at once, and forgotten.

Both doors at which rooms are made do it before they ask the hub, which so never sees a password nor waits for one. The
link secret that is drawn with it goes into the answer, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import msgspec

from relayd.errors import FieldProblem, InvalidFields, Overloaded
from relayd.wire.ids import RandomBytes
from relayd.wire.links import password_mark
from relayd.wire.rest import CreateRoom
from relayd.wire.sealing import derive_access, password_bytes
from relayd.wire.sealing_text import SealingError

AT_ONCE = 2  # each takes a core for 0.2 to 0.4 s
MAX_WAITING = 16  # beside those: the last one waits some 3 s


class Passwords:
    """Derives access parts.

    Args:
        random_bytes: a cryptographic source of randomness.
    """

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._random = random_bytes
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._under_way = 0

    async def seal(self, body: CreateRoom) -> tuple[CreateRoom, str]:
        """What the hub is to be asked for: the same room, its password replaced by what the room keeps of it.

        Returns:
            The room, and what its link has behind the invite key: "" unless there was a password.

        Raises:
            InvalidFields: the password cannot be one, or there is an access part, too.
            Overloaded: too many wait already.
        """
        if body.password is None:
            return body, ""
        if body.access is not None:
            reason = "give either password or access, not both"
            problems = tuple(FieldProblem(name, reason) for name in ("password", "access"))
            raise InvalidFields(f"password, access: {reason}", problems=problems)
        try:
            password_bytes(body.password)
        except SealingError as wrong:
            reason = str(wrong).removeprefix("password: ")
            raise InvalidFields(f"password: {reason}", problems=(FieldProblem("password", reason),)) from None
        if self._under_way >= AT_ONCE + MAX_WAITING:
            raise Overloaded("Too many rooms with passwords are being made", retry_after_s=2)
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            access, secret = await loop.run_in_executor(self._threads, derive_access, body.password, self._random)
        finally:
            self._under_way -= 1
        return msgspec.structs.replace(body, password=None, access=access), password_mark(secret)

    def close(self) -> None:
        """Derives no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
