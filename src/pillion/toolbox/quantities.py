"""Sizes as Kubernetes writes them: `4Mi`, `1M`, `512`, `1e6`; read into whole bytes."""

import re
from fractions import Fraction

_FORM = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_SCALES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{prefix: Fraction(1000**power) for power, prefix in enumerate("kMGTPE", 1)},
    **{prefix + "i": Fraction(1024**power) for power, prefix in enumerate("KMGTPE", 1)},
}
_LARGEST = 2**63 - 1


class QuantityError(ValueError):
    """The text is no size in whole bytes; the sentence says why."""


def parse(text: str) -> int:
    """Read a size. `4Mi` is 4,194,304 and `4M` is 4,000,000; a fraction of a byte is refused."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise QuantityError(f'"{text}" is not a size such as 4Mi, 512Ki or 1000000')
    number, exponent, suffix = match.groups(default="")
    scale = Fraction(10) ** int(exponent[1:]) if exponent else _SCALES[suffix]
    size = Fraction(number) * scale
    if size.denominator != 1:
        raise QuantityError(f'"{text}" is not a whole number of bytes')
    if abs(size) > _LARGEST:
        raise QuantityError(f'"{text}" is larger than 8Ei')
    return int(size)
