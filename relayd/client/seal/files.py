"""Files in a sealed room: the offer, and the chunks of one pass over the file."""

from __future__ import annotations

import hashlib
import os
from typing import Annotated, Any, Final, NoReturn, SupportsIndex

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayd.client.seal.bodies import BodyType, nonce
from relayd.client.sealing_errors import FileError
from relayd.wire.chunks import PASS_BYTES, TAG_BYTES
from relayd.wire.ids import RandomBytes
from relayd.wire.sealing import KEY_BYTES, SALT_BYTES, Base64Of16, Base64Of32, derive_key
from relayd.wire.sealing_text import Redacted, decode_base64url, encode_base64url, require_length, u32

FID_BYTES: Final = 16

# A receiver holds one chunk in memory; frames are 64 KiB by default, so this is room to grow, not a target.
MAX_CHUNK_BYTES: Final = 1024 * 1024


class FileOffer(Redacted, msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """The body of a sealed message that offers a file. Its JSON has `"kind": "file"` and these fields.

    Attributes:
        fid: 16 random bytes that name the file.
        key: 32 random bytes, drawn for this offer.
        chunk: plaintext bytes of every chunk but the final one.
        name: the file's name, as its owner calls it: never to be used as a path.
        size: bytes of the whole file; below 2^53, so that a browser can count them.
        type: its media type.
        sha256: SHA-256 of the whole file, 32 bytes.
    """

    fid: Base64Of16
    key: Base64Of32
    chunk: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHUNK_BYTES)]
    name: str
    size: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    type: str
    sha256: Base64Of32

    @property
    def chunks(self) -> int:
        """How many chunks the file has; an empty one has one, which is empty."""
        return max(1, -(-self.size // self.chunk))

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
    chunk_bytes: int,
) -> FileOffer:
    """An offer with a fresh fid and key, from the system's randomness.

    Args:
        name: what the file is called.
        media_type: e.g. `image/png`.
        size: bytes.
        sha256: of the whole file, 32 bytes.
        chunk_bytes: 1 to `MAX_CHUNK_BYTES`.

    Raises:
        FileError: a size is out of range.
    """
    return read_offer(
        {
            "kind": "file",
            "fid": encode_base64url(os.urandom(FID_BYTES)),
            "key": encode_base64url(os.urandom(KEY_BYTES)),
            "chunk": chunk_bytes,
            "name": name,
            "size": size,
            "type": media_type,
            "sha256": encode_base64url(sha256),
        }
    )


def read_offer(body: object) -> FileOffer:
    """The offer that a message's body is.

    Raises:
        FileError: it has another form.
    """
    try:
        return msgspec.convert(body, FileOffer)
    except msgspec.ValidationError:
        raise FileError("the offer of a file has another form") from None


class _Pass(Redacted):
    """What both ends of one pass know: its key, and how far it has come. A failure ends it."""

    def __init__(self, offer: FileOffer, salt: bytes, epoch: int, pass_id: bytes) -> None:
        require_length(salt, SALT_BYTES, "salt")
        require_length(pass_id, PASS_BYTES, "pass")
        fid = decode_base64url(offer.fid, FID_BYTES, "fid")
        key = decode_base64url(offer.key, KEY_BYTES, "key")
        self.pass_id = pass_id
        self.index = 0
        self._offer = offer
        self._bound = b"relay/1\0" + bytes([BodyType.CHUNK]) + salt + u32(epoch) + fid
        self._cipher = AESGCM(derive_key(key, "file", fid + pass_id, salt))
        self._digest = hashlib.sha256()
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether the final chunk has been handled, and size and SHA-256 fit the offer."""
        return self.index == self._offer.chunks

    @property
    def _last(self) -> bool:
        return self.index == self._offer.chunks - 1

    def _expected(self) -> tuple[int, bytes]:
        """Bytes of the next chunk, and the additional data that say its place and whether it is the last."""
        if self.complete or self._failed:
            raise FileError("this pass over the file is over")
        rest = self._offer.size - self.index * self._offer.chunk
        place = self.index.to_bytes(8, "big") + bytes([self._last])
        return min(rest, self._offer.chunk), self._bound + place

    def _count(self, data: bytes) -> None:
        self._digest.update(data)
        if self._last and encode_base64url(self._digest.digest()) != self._offer.sha256:
            raise self._failure("the file is not the one that was offered")
        self.index += 1

    def _failure(self, detail: str) -> FileError:
        self._failed = True
        return FileError(detail)


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
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        """Draws the pass.

        Args:
            offer: what is being sent.
            salt: the room's.
            epoch: that in which the offer was sealed.
            random_bytes: where the pass comes from.
        """
        super().__init__(offer, salt, epoch, random_bytes(PASS_BYTES))

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
        size, additional = self._expected()
        if len(data) != size:
            raise self._failure("the file changed while it was read")
        counter = nonce(self.index)
        self._count(data)
        return self._cipher.encrypt(counter, data, additional)


class ChunkOpener(_Pass):
    """Opens one pass over a file, chunk by chunk in order. Only when `complete` is it the file offered."""

    def __init__(self, offer: FileOffer, *, salt: bytes, epoch: int, pass_id: bytes) -> None:
        """Begins with the first chunk.

        Args:
            offer: as opened.
            salt: the room's.
            epoch: that in which the offer was sealed (`Message.epoch`).
            pass_id: from the first chunk's frame, 16 bytes; another one in a later frame is a new pass.
        """
        super().__init__(offer, salt, epoch, pass_id)

    def open(self, ciphertext: bytes) -> bytes:
        """The plaintext of the next chunk.

        Raises:
            FileError: it is not the next chunk of this pass, has not the length it must have, or, with the
                final one, the SHA-256 is not that of the offer. The pass is over then.
        """
        size, additional = self._expected()
        if len(ciphertext) != size + TAG_BYTES:
            raise self._failure("a chunk has another length than the offer says")
        try:
            data = self._cipher.decrypt(nonce(self.index), ciphertext, additional)
        except InvalidTag:
            raise self._failure("a chunk could not be opened") from None
        self._count(data)
        return data
