"""Fresh identifiers, cheaper than the uuid module's."""

from os import urandom


def uuid4() -> str:
    """A random UUID in its usual spelling. From the kernel, so that a forked child never repeats its parent."""
    return _spelled(urandom(16).hex())


class Uuids:
    """Random UUIDs, made many at a time: one costs a third of `uuid4`. Not to be carried over a fork, or both sides
    would hand out the same."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[str] = []

    def next(self) -> str:
        """One that was never handed out."""
        if not self._ready:
            digits = urandom(16 * _AT_ONCE).hex()
            self._ready = [_spelled(digits[at : at + 32]) for at in range(0, 32 * _AT_ONCE, 32)]
        return self._ready.pop()


_AT_ONCE = 64
_VARIANTS = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))


def _spelled(digits: str) -> str:
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
