"""Files: the offer, and the chunks of one pass over the file, as they travel in an open room and in a sealed one."""

from __future__ import annotations

import hashlib
import os
from typing import Annotated, Any, Final, NoReturn, Protocol, SupportsIndex

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayd.client.seal.bodies import BodyType, nonce
from relayd.client.sealing_errors import FileError
from relayd.wire.chunks import CLIENT_CHUNK_BYTES, FID_BYTES, PASS_BYTES, TAG_BYTES, Shape
from relayd.wire.ids import RandomBytes
from relayd.wire.sealing import KEY_BYTES, SALT_BYTES, Base64Of16, Base64Of32, derive_key
from relayd.wire.sealing_text import Redacted, decode_base64url, encode_base64url, require_length, u32

# A receiver holds a few chunks in memory; frames are 64 KiB by default, so this is room to grow, not a target.
MAX_CHUNK_BYTES: Final = 1024 * 1024


class Digest(Protocol):
    """A hash that goes on, as `hashlib` makes them."""

    def update(self, data: bytes, /) -> None:
        """More of it."""

    def digest(self) -> bytes:
        """What it is so far."""


class FileOffer(Redacted, msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="file", omit_defaults=True):
    """The body of a message that offers a file. Its JSON has `"kind": "file"` and these fields.

    Attributes:
        fid: 16 random bytes that name the file.
        key: 32 random bytes, drawn for this offer, in a sealed room; "" in an open one.
        chunk: plaintext bytes of every chunk but the final one.
        name: the file's name, as its owner calls it: never to be used as a path.
        size: bytes of the whole file; below 2^53, so that a browser can count them.
        type: its media type.
        sha256: SHA-256 of the whole file, 32 bytes.
    """

    fid: Base64Of16
    key: Base64Of32 = ""
    chunk: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHUNK_BYTES)]
    name: str
    size: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    type: str
    sha256: Base64Of32

    @property
    def shape(self) -> Shape:
        """The chunks it has."""
        return Shape(self.size, self.chunk)

    @property
    def chunks(self) -> int:
        """How many chunks the file has; an empty one has one, which is empty."""
        return self.shape.chunks

    def body(self) -> dict[str, Any]:
        """The offer as the body of a message."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made


def new_offer(
    name: str,
    media_type: str,
    *,
    size: int,
    sha256: bytes,
    chunk_bytes: int = CLIENT_CHUNK_BYTES,
    sealed: bool = True,
    random_bytes: RandomBytes = os.urandom,
) -> FileOffer:
    """An offer with a fresh fid and key.

    Args:
        name: what the file is called.
        media_type: e.g. `image/png`.
        size: bytes.
        sha256: of the whole file, 32 bytes.
        chunk_bytes: 1 to `MAX_CHUNK_BYTES`.
        sealed: whether it has a key.
        random_bytes: where fid and key come from.

    Raises:
        FileError: a size is out of range.
    """
    body = {
        "kind": "file",
        "fid": encode_base64url(random_bytes(FID_BYTES)),
        "chunk": chunk_bytes,
        "name": name,
        "size": size,
        "type": media_type,
        "sha256": encode_base64url(sha256),
    }
    key = {"key": encode_base64url(random_bytes(KEY_BYTES))} if sealed else {}
    return read_offer({**body, **key}, sealed=sealed)


def read_offer(body: object, *, sealed: bool = True) -> FileOffer:
    """The offer that a message's body is.

    Args:
        body: decoded JSON.
        sealed: whether it must have a key; where it needs none, one is passed over.

    Raises:
        FileError: it has another form.
    """
    try:
        offer = msgspec.convert(body, FileOffer)
    except msgspec.ValidationError:
        offer = None
    if offer is None or (sealed and not offer.key):
        raise FileError("the offer of a file has another form")
    return offer if sealed else msgspec.structs.replace(offer, key="")


class _Pass(Redacted):
    """What both ends of one pass over a file know: how far it has come, and what went through it.

    Args:
        offer: of the file.
        pass_id: 16 bytes.
        first: the chunk it begins with.
        digest: SHA-256 of all before that chunk; None where it is not known, and the end is not checked then.
    """

    def __init__(self, offer: FileOffer, pass_id: bytes, first: int, digest: Digest | None) -> None:
        require_length(pass_id, PASS_BYTES, "pass")
        self.pass_id = pass_id
        self.index = first
        self._offer = offer
        self._shape = offer.shape
        self._digest = digest
        self._failed = not 0 <= first < self._shape.chunks

    @property
    def complete(self) -> bool:
        """Whether the final chunk has been handled, and size and SHA-256 fit the offer."""
        return self.index == self._shape.chunks

    def _expected(self) -> tuple[int, bool]:
        """Bytes of the next chunk, and whether it is the last."""
        if self.complete or self._failed:
            raise FileError("this pass over the file is over")
        return self._shape.bytes_of(self.index), self._shape.is_last(self.index)

    def _count(self, data: bytes) -> None:
        last = self._shape.is_last(self.index)
        if self._digest is not None:
            self._digest.update(data)
            if last and encode_base64url(self._digest.digest()) != self._offer.sha256:
                raise self._failure("the file is not the one that was offered")
        self.index += 1

    def _failure(self, detail: str) -> FileError:
        self._failed = True
        return FileError(detail)


class OpenSender(_Pass):
    """Sends one pass over a file in an open room: as it is."""

    def __init__(self, offer: FileOffer, *, first: int = 0, random_bytes: RandomBytes = os.urandom) -> None:
        super().__init__(offer, random_bytes(PASS_BYTES), first, None)

    def seal(self, data: bytes) -> bytes:
        """The next chunk, as it travels. Raises: as `ChunkSealer.seal`."""
        if len(data) != self._expected()[0]:
            raise self._failure("the file changed while it was read")
        self._count(data)
        return data


class OpenReceiver(_Pass):
    """Takes one pass over a file in an open room: what the server says it is, up to the SHA-256 at its end."""

    def __init__(self, offer: FileOffer, *, pass_id: bytes, first: int = 0, digest: Digest | None = None) -> None:
        super().__init__(offer, pass_id, first, hashlib.sha256() if digest is None else digest)

    def open(self, data: bytes) -> bytes:
        """The next chunk, as it travelled. Raises: as `ChunkOpener.open`."""
        if len(data) != self._expected()[0]:
            raise self._failure("a chunk has another length than the offer says")
        self._count(data)
        return data


class _Cipher:
    """The key of one pass, and what its chunks are bound to.

    Source: docs/security.md, "Files": `FK = H(key, "file", fid || pass)`.
    """

    def __init__(self, offer: FileOffer, salt: bytes, epoch: int, pass_id: bytes) -> None:
        require_length(salt, SALT_BYTES, "salt")
        fid = decode_base64url(offer.fid, FID_BYTES, "fid")
        key = decode_base64url(offer.key, KEY_BYTES, "key")
        self._bound = b"relay/1\0" + bytes([BodyType.CHUNK]) + salt + u32(epoch) + fid
        self._cipher = AESGCM(derive_key(key, "file", fid + pass_id, salt))

    def _additional(self, index: int, last: bool) -> bytes:
        return self._bound + index.to_bytes(8, "big") + bytes([last])

    def encrypt(self, index: int, data: bytes, *, last: bool) -> bytes:
        """Ciphertext and tag."""
        return self._cipher.encrypt(nonce(index), data, self._additional(index, last))

    def decrypt(self, index: int, data: bytes, *, last: bool) -> bytes:
        """The plaintext. Raises InvalidTag."""
        return self._cipher.decrypt(nonce(index), data, self._additional(index, last))


class ChunkSealer(_Pass):
    """Seals one pass over a file, chunk by chunk in order. Another pass needs another one of these.

    The key hangs on `pass_id`, drawn here, so a file that changed in between never repeats a nonce.
    """

    def __init__(
        self,
        offer: FileOffer,
        *,
        salt: bytes,
        epoch: int,
        first: int = 0,
        check: bool = True,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        """Draws the pass.

        Args:
            offer: what is being sent.
            salt: the room's.
            epoch: that in which the offer was sealed.
            first: the chunk to begin with; from another one than 0 the file's SHA-256 cannot be checked here.
            check: False leaves the SHA-256 to the receivers, who check it all the same.
            random_bytes: where the pass comes from.
        """
        super().__init__(offer, random_bytes(PASS_BYTES), first, hashlib.sha256() if check and not first else None)
        self._cipher = _Cipher(offer, salt, epoch, self.pass_id)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuses: `copy`, `deepcopy` and `pickle` all come through here."""
        raise TypeError("a ChunkSealer cannot be copied: two would use the same nonces")

    def seal(self, data: bytes) -> bytes:
        """Seals the next chunk.

        Args:
            data: exactly `offer.chunk` bytes, the rest of the file for the final one.

        Returns:
            Ciphertext and tag, for a frame that carries `pass_id` too.

        Raises:
            FileError: another length, more than the file has, or, at the final chunk, another file than was
                offered. The pass is over then.
        """
        size, last = self._expected()
        if len(data) != size:
            raise self._failure("the file changed while it was read")
        index = self.index
        self._count(data)
        return self._cipher.encrypt(index, data, last=last)


class ChunkOpener(_Pass):
    """Opens one pass over a file, chunk by chunk in order. Only when `complete` is it the file offered."""

    def __init__(
        self,
        offer: FileOffer,
        *,
        salt: bytes,
        epoch: int,
        pass_id: bytes,
        first: int = 0,
        digest: Digest | None = None,
    ) -> None:
        """Begins with the first chunk.

        Args:
            offer: as opened.
            salt: the room's.
            epoch: that in which the offer was sealed (`Message.epoch`).
            pass_id: from the first chunk's frame, 16 bytes; another one in a later frame is a new pass.
            first: the chunk that this pass begins with.
            digest: SHA-256 of all before it, which goes on here.
        """
        super().__init__(offer, pass_id, first, hashlib.sha256() if digest is None else digest)
        self._cipher = _Cipher(offer, salt, epoch, pass_id)

    def open(self, ciphertext: bytes) -> bytes:
        """The plaintext of the next chunk.

        Raises:
            FileError: it is not the next chunk of this pass, has not the length it must have, or, with the
                final one, the SHA-256 is not that of the offer. The pass is over then.
        """
        size, last = self._expected()
        if len(ciphertext) != size + TAG_BYTES:
            raise self._failure("a chunk has another length than the offer says")
        try:
            data = self._cipher.decrypt(self.index, ciphertext, last=last)
        except InvalidTag:
            raise self._failure("a chunk could not be opened") from None
        self._count(data)
        return data
