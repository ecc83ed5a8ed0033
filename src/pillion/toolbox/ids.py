"""Fresh identifiers, cheaper than the uuid module's."""

from os import urandom


def uuid4() -> str:
    """A random UUID in its usual spelling. From the kernel, so that a forked child never repeats its parent."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
