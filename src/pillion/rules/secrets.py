"""Which secrets an app may read."""

from collections.abc import Set

from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What the Configuration says of one store. Without a scope everything may be read."""

    allowed: Set[str] = frozenset()
    denied: Set[str] = frozenset()
    default_allow: bool = True


def is_allowed(scope: Scope | None, name: str) -> bool:
    """Whether a secret may be read.

    | allowed list | denied list    | answer                |
    |--------------|----------------|-----------------------|
    | not empty    | any            | is it on the allowed? |
    | empty        | has the name   | no                    |
    | empty        | has it not     | the default           |
    """
    if scope is None:
        return True
    if scope.allowed:
        return name in scope.allowed
    return name not in scope.denied and scope.default_allow
