"""Sizes as Kubernetes writes them: `4Mi`, `1M`, `512`, `1e6`; read into whole bytes."""

import re

_FORM = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_SCALES = {
    "n": (1, -9),
    "u": (1, -6),
    "m": (1, -3),
    "": (1, 0),
    **{prefix: (1, 3 * power) for power, prefix in enumerate("kMGTPE", 1)},
    **{prefix + "i": (1024**power, 0) for power, prefix in enumerate("KMGTPE", 1)},
}
"""What a suffix multiplies by: a factor and a power of ten."""
_LARGEST = 2**63 - 1


class QuantityError(ValueError):
    """The text is no size in whole bytes; the sentence says why."""


def parse(text: str) -> int:
    """Read a size. `4Mi` is 4,194,304 and `4M` is 4,000,000; a fraction of a byte is refused."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise QuantityError(f'"{text}" is not a size such as 4Mi, 512Ki or 1000000')
    number, exponent, suffix = match.groups(default="")
    factor, power = (1, int(exponent[1:])) if exponent else _SCALES[suffix]
    whole, _, part = number.partition(".")
    power -= len(part)
    up, down = int(10 ** max(power, 0)), int(10 ** max(-power, 0))
    size, rest = divmod(int(whole + part) * factor * up, down)
    if rest:
        raise QuantityError(f'"{text}" is not a whole number of bytes')
    if abs(size) > _LARGEST:
        raise QuantityError(f'"{text}" is larger than 8Ei')
    return size
