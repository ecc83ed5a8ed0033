"""Where something was written, and what is wrong with it."""

from dataclasses import field

from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a file; line 0 is the file or folder as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. A fatal one ends start-up; with another the runtime goes on without what it is about."""

    file: str
    line: int
    field: str
    message: str
    fatal: bool = False

    def __str__(self) -> str:
        """`orders.yaml:7: spec.metdata: unknown field; did you mean "metadata"?`"""
        place = str(Source(self.file, self.line))
        return ": ".join(part for part in (place, self.field, self.message) if part)


@dataclass(slots=True)
class Report:
    """Problems as they are found. A strict one takes whatever spoils a resource for fatal."""

    strict: bool = False
    problems: list[Problem] = field(default_factory=list)
    spoiled: int = 0
    """How many were told that leave nothing usable behind."""

    def warn(self, source: Source, field: str, message: str) -> None:
        """Odd, and the rest can be used."""
        self.problems.append(Problem(source.file, source.line, field, message))

    def spoil(self, source: Source, field: str, message: str) -> None:
        """The resource it is about cannot be used; others can."""
        self.spoiled += 1
        self.problems.append(Problem(source.file, source.line, field, message, fatal=self.strict))

    def fail(self, source: Source, field: str, message: str) -> None:
        """The process cannot start with this."""
        self.spoiled += 1
        self.problems.append(Problem(source.file, source.line, field, message, fatal=True))
