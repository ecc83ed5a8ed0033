"""Why a text is not JSON, in the words of Go's scanner; run only on texts a parser has already refused."""

_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_LITERALS = {0x74: b"true", 0x66: b"false", 0x6E: b"null"}


class _Stop(Exception):
    """The sentence."""


def complaint(body: bytes, *, whole: bool) -> str:
    """The sentence for the first wrong byte, "" when the scanner finds none. `whole` decides what a missing end is called."""
    try:
        scan = _Scan(body, whole)
        scan.value()
        if whole:
            scan.space()
            if scan.at < len(body):
                scan.wrong("after top-level value")
    except _Stop as stop:
        return str(stop)
    except RecursionError:
        return "exceeded max depth"
    return ""


class _Scan:
    """A cursor over the text; every method leaves it behind what it read."""

    def __init__(self, body: bytes, whole: bool) -> None:
        self.body = body
        self.whole = whole
        self.at = 0

    def value(self) -> None:
        self.space()
        byte = self.peek()
        if byte == 0x7B:
            self.members()
        elif byte == 0x5B:
            self.elements()
        elif byte == 0x22:
            self.string()
        elif byte in b"-0123456789":
            self.number()
        elif byte in _LITERALS:
            self.literal(_LITERALS[byte])
        else:
            self.wrong("looking for beginning of value")

    def members(self) -> None:
        self.at += 1
        self.space()
        if self.peek() == 0x7D:
            self.at += 1
            return
        while True:
            self.space()
            if self.peek() != 0x22:
                self.wrong("looking for beginning of object key string")
            self.string()
            self.space()
            if self.peek() != 0x3A:
                self.wrong("after object key")
            self.at += 1
            self.value()
            if self.closed(0x7D, "after object key:value pair"):
                return

    def elements(self) -> None:
        self.at += 1
        self.space()
        if self.peek() == 0x5D:
            self.at += 1
            return
        while True:
            self.value()
            if self.closed(0x5D, "after array element"):
                return

    def closed(self, end: int, where: str) -> bool:
        self.space()
        byte = self.peek()
        if byte not in (end, 0x2C):
            self.wrong(where)
        self.at += 1
        return byte == end

    def string(self) -> None:
        self.at += 1
        while (byte := self.peek()) != 0x22:
            if byte < 0x20:
                self.wrong("in string literal")
            self.at += 1
            if byte == 0x5C:
                self.escape()
        self.at += 1

    def escape(self) -> None:
        byte = self.peek()
        if byte == 0x75:
            self.at += 1
            for _ in range(4):
                self.one_of(_HEX, "in \\u hexadecimal character escape")
        else:
            self.one_of(b'bfnrt\\/"', "in string escape code")

    def number(self) -> None:
        if self.peek() == 0x2D:
            self.at += 1
        if self.one_of(_DIGITS, "in numeric literal") != 0x30:
            self.digits()
        if self.next_in(b"."):
            self.at += 1
            self.one_of(_DIGITS, "after decimal point in numeric literal")
            self.digits()
        if self.next_in(b"eE"):
            self.at += 1
            self.at += self.next_in(b"+-")
            self.one_of(_DIGITS, "in exponent of numeric literal")
            self.digits()

    def literal(self, word: bytes) -> None:
        for expected in word:
            if self.peek() != expected:
                self.wrong(f"in literal {word.decode()} (expecting {quoted(expected)})")
            self.at += 1

    def digits(self) -> None:
        while self.next_in(_DIGITS):
            self.at += 1

    def one_of(self, allowed: bytes, where: str) -> int:
        byte = self.peek()
        if byte not in allowed:
            self.wrong(where)
        self.at += 1
        return byte

    def next_in(self, allowed: bytes) -> bool:
        return self.at < len(self.body) and self.body[self.at] in allowed

    def space(self) -> None:
        while self.next_in(_SPACE):
            self.at += 1

    def peek(self) -> int:
        if self.at >= len(self.body):
            if self.whole:
                raise _Stop("unexpected end of JSON input")
            raise _Stop("EOF" if not self.body.strip(_SPACE) else "unexpected EOF")
        return self.body[self.at]

    def wrong(self, where: str) -> None:
        raise _Stop(f"invalid character {quoted(self.body[self.at])} {where}")


def quoted(byte: int) -> str:
    """A byte as Go quotes a character."""
    if byte == 0x27:
        return r"'\''"
    named = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 92: r"\\"}.get(byte)
    if named is None:
        character = chr(byte)
        named = (
            character if character.isprintable() else f"\\x{byte:02x}" if byte < 0x80 else f"\\u{byte:04x}"
        )
    return f"'{named}'"
