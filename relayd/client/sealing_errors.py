"""What can go wrong with sealing at a client, by what the client does about it.

Every text is for the person at the client; none repeats a key, a password, a link or what was said.
"""

from __future__ import annotations

from relayd.wire.sealing_text import SealingError


class LinkError(SealingError):
    """A share link has not the form of one: ask for it again."""


class UnknownSuite(LinkError):
    """The link is of a suite that this client doesn't know: a newer client is needed."""


class Downgrade(SealingError):
    """The server offers less than the link promises. Nothing may be shown or sent: leave."""


class PasswordNeeded(SealingError):
    """The room has a password and none was given: ask for it."""


class WrongSecret(SealingError):
    """Password or link secret don't fit what the server answered: ask again, or get the present link."""


class NotConfirmed(SealingError):
    """The server hasn't answered the epoch's check yet: nothing may be sealed or opened before `confirm`."""


class SealerSpent(SealingError):
    """A socket has used up its counters: open a new socket, with a new `Sealer`."""


class BadKey(SealingError):
    """A public key that nothing can be sealed to (of small order)."""


class NotOpened(SealingError):
    """Something in a frame cannot be believed: show that one came which did not open, and nothing of it."""


class NotSealed(NotOpened):
    """It has not the shape of something sealed; in a sealed room no plaintext is shown."""


class WrongEpoch(NotOpened):
    """It is of an epoch that is over at its place in the order, or that this client has no key of."""


class NewerEpoch(WrongEpoch):
    """It is of an epoch after the present one: the room has new keys that did not reach this client."""


class UnknownSender(NotOpened):
    """No card of the sender has been opened yet. Nothing was taken note of: try again after one."""


class WrongSender(NotOpened):
    """What is inside names another sender than the frame, or it uses the sid or key of someone else."""


class Dropped(SealingError):
    """Something that a receiver drops without a word."""


class Replayed(Dropped):
    """Its counter isn't above the last one of the same user, sid and type."""


class Reflected(Dropped):
    """It bears a sid of this client's own, and this client didn't send it."""


class SaidBefore(Dropped):
    """The same author said something under the same id: sent again after a reconnect."""


class RekeyError(SealingError):
    """A new epoch isn't the owner's work, or goes back: stay in the present one and say so."""


class FileError(SealingError):
    """A file transfer can't be trusted or went wrong: throw away what came."""
