"""The fixed Huffman code that header strings may be packed with (RFC 7541, appendix B)."""

import struct

LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
"""Bits per symbol; the last is the end-of-string mark, which must never appear. The code is canonical: these lengths are all of it."""

_EOS = 256
_STRIDES = 8192
"""Pairs of bytes remembered with what they lead to."""
_LOST = -1
_SHORT = 64
"""Packed bytes up to which adding piece to piece is the quickest way."""


class HuffmanError(ValueError):
    """A string that the code cannot have produced."""


def _codes() -> dict[int, tuple[int, int]]:
    codes: dict[int, tuple[int, int]] = {}
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(LENGTHS)):
        code <<= length - before
        codes[symbol] = (code, length)
        before = length
        code += 1
    return codes


def _tree() -> list[list[int]]:
    """Nodes of two branches; a branch is another node, or `~symbol`."""
    nodes = [[0, 0]]
    for symbol, (code, length) in _codes().items():
        node = 0
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if not nodes[node][bit]:
                nodes.append([0, 0])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][code & 1] = ~symbol
    return nodes


class _Steps(dict[int, list[tuple[int, bytes]]]):
    """For each node, where each possible next byte leads and the symbols met on the way.

    A row is worked out when a string first needs it: all of them would be 65,000 entries.
    """

    def __init__(self) -> None:
        self.tree = _tree()
        self[_LOST] = [(_LOST, b"")] * 256

    def __missing__(self, node: int) -> list[tuple[int, bytes]]:
        row = self[node] = [self._step(node, byte) for byte in range(256)]
        return row

    def _step(self, node: int, byte: int) -> tuple[int, bytes]:
        met = bytearray()
        for shift in range(7, -1, -1):
            node = self.tree[node][byte >> shift & 1]
            if node < 0:
                if ~node == _EOS:
                    return _LOST, b""
                met.append(~node)
                node = 0
        return node, bytes(met)


_STEPS = _Steps()


def _paddings() -> frozenset[int]:
    """Where a string may end: on a symbol's border, or up to seven one-bits past it."""
    ends, node = {0}, 0
    for _ in range(7):
        node = _STEPS.tree[node][1]
        ends.add(node)
    return frozenset(ends)


_ENDS = _paddings()


class _Strides(dict[tuple[int, int], tuple[int, bytes]]):
    """The same for two bytes at once, by node and both bytes as a number. What deadlines are made of is soon complete."""

    def __missing__(self, place: tuple[int, int]) -> tuple[int, bytes]:
        node, word = place
        node, first = _STEPS[node][word >> 8]
        node, second = _STEPS[node][word & 0xFF]
        if len(self) >= _STRIDES:
            self.clear()
        found = self[place] = node, first + second
        return found


_STRIDE = _Strides()
_WORDS = tuple(struct.Struct(f">{count}H").unpack for count in range(_SHORT // 2 + 1))


def unpack(packed: bytes) -> bytes:
    """The string behind a packed one; raises `HuffmanError` on the end mark or wrong padding."""
    size = len(packed)
    if size > _SHORT:
        return _unpacked(packed)
    node, text, strides = 0, b"", _STRIDE
    even = size & 1 == 0
    for word in _WORDS[size >> 1](packed if even else packed[:-1]):
        node, symbols = strides[node, word]
        text += symbols
    if not even:
        node, symbols = _STEPS[node][packed[-1]]
        text += symbols
    if node not in _ENDS:
        raise HuffmanError("a packed header string does not end in padding")
    return text


def _unpacked(packed: bytes) -> bytes:
    """The same in time that grows with the length only."""
    node, parts, steps = 0, [], _STEPS
    for byte in packed:
        node, symbols = steps[node][byte]
        parts.append(symbols)
    if node not in _ENDS:
        raise HuffmanError("a packed header string does not end in padding")
    return b"".join(parts)


def pack(text: bytes) -> bytes:
    """A string packed; for tests and for peers' sake never used on the way out, where time counts more than bytes."""
    codes = _codes()
    bits = size = 0
    for symbol in text:
        code, length = codes[symbol]
        bits = bits << length | code
        size += length
    padding = -size % 8
    bits = bits << padding | (1 << padding) - 1
    return bits.to_bytes((size + padding) // 8, "big")
