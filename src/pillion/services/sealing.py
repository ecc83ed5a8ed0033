"""Values encrypted at rest: AES-GCM under a component's own keys, in the layout Dapr writes.

A stored value is `base64(nonce ‖ ciphertext ‖ tag)`, `||`, and the name of the secret that holds the key: so a value tells which of
the two keys opens it, and keys can be rotated by naming the old one as the secondary.
"""

import base64
import binascii
from os import urandom
from typing import Any

from pillion.toolbox.lazily import dataclass

_NONCE = 12
_MARK = b"||"


class SealBroken(Exception):
    """A stored value that these keys do not open."""


class KeyRefused(ValueError):
    """An encryption key that cannot be used; the sentence names the setting, never the key."""


@dataclass(frozen=True, slots=True)
class SealKey:
    """A key by the name of its secret. `digits` is the key in hexadecimal: 16, 24 or 32 bytes."""

    name: str
    digits: str


class Sealer:
    """Encrypts under the primary key, decrypts under the primary or the secondary."""

    def __init__(self, store: str, primary: SealKey, secondary: SealKey | None = None) -> None:
        self._store = store
        self._suffix = _MARK + primary.name.encode()
        self._primary = _cipher("primaryEncryptionKey", primary)
        self._ciphers = {primary.name.encode(): self._primary}
        if secondary is not None:
            self._ciphers.setdefault(secondary.name.encode(), _cipher("secondaryEncryptionKey", secondary))

    def seal(self, value: bytes) -> bytes:
        """The value as it is stored."""
        nonce = urandom(_NONCE)
        return base64.b64encode(nonce + self._primary.encrypt(nonce, value, None)) + self._suffix

    def open(self, stored: bytes) -> bytes:
        """The value as it was saved; raises SealBroken."""
        text, mark, name = stored.rpartition(_MARK)
        if not mark or not name:
            raise self._broken("encryption key name not found on record")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise self._broken(f"it was encrypted under another key, {name.decode(errors='replace')}")
        try:
            sealed = base64.b64decode(text, validate=True)
            opened: bytes = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (binascii.Error, ValueError) as error:
            raise self._broken(str(error)) from error
        except _forged() as error:
            raise self._broken(
                "the key is not the one it was encrypted under, or the value was changed"
            ) from error
        return opened

    def _broken(self, why: str) -> SealBroken:
        return SealBroken(f"could not decrypt data for state store {self._store}: {why}")


def _cipher(setting: str, key: SealKey) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise KeyRefused(
            f'{setting}: encryption needs a package that is not installed: pip install "pillion[sealing]"'
        ) from None
    try:
        raw = bytes.fromhex(key.digits.strip())
    except ValueError:
        raise KeyRefused(f"{setting}: the key must be written in hexadecimal digits") from None
    if len(raw) not in (16, 24, 32):
        raise KeyRefused(f"{setting}: the key has {len(raw)} bytes; AES takes 16, 24 or 32")
    return AESGCM(raw)


def _forged() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
