"""Which APIs a sidecar serves: the Configuration's allow and deny lists, on both transports."""

from collections.abc import Callable, Iterable
from typing import Final

from pillion.toolbox.lazily import dataclass

_VERSIONS: Final = {
    "v1.0": "v1", "v1.0-alpha1": "v1alpha1", "v1.0-alpha2": "v1alpha2", "v1.0-beta1": "v1beta1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApiRule:
    """One line of a list. An empty version or protocol means any."""

    name: str
    version: str = ""
    protocol: str = ""


def gate(
    allowed: Iterable[ApiRule], denied: Iterable[ApiRule], protocol: str
) -> Callable[[str], bool] | None:
    """A test of group names (`state.v1`) for one transport, None when nothing is restricted.

    A deny rule wins; a non-empty allow list admits only what it names. Rules may spell versions as paths do (`v1.0`), and
    case does not matter: a slip must not open what a rule was to close. Health is always served.
    """
    mine = [rule for rule in allowed if rule.protocol.lower() in ("", protocol)]
    barred = [rule for rule in denied if rule.protocol.lower() in ("", protocol)]
    if not mine and not barred:
        return None
    yes, no = _groups(mine), _groups(barred)

    def admits(group: str) -> bool:
        name = group.partition(".")[0]
        if name == "healthz":
            return True
        if group in no or f"{name}." in no:
            return False
        return not mine or group in yes or f"{name}." in yes

    return admits


def _groups(rules: Iterable[ApiRule]) -> frozenset[str]:
    """`name.version`, or `name.` for every version."""
    spelled = ((rule.name.lower(), rule.version.lower()) for rule in rules)
    return frozenset(f"{name}.{_VERSIONS.get(version, version)}" for name, version in spelled)
