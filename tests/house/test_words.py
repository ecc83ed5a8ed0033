"""What no file of the project may say."""

import re

from tests.house.source import PROJECT, texts

UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINES = re.compile(
    r"(?<![\w.])/(?:ro" r"ot|wo" r"rk|opt/wh" r"eels)(?:/|\b(?!/))"
    r"|\b(?:pypi\.o" r"rg|files\.pythonho" r"sted\.org|registry\.npm" r"js\.org|registry\.yarn" r"pkg\.com"
    r"|proxy\.gol" r"ang\.org|repo1?\.mav" r"en\.apache\.org|deb\.deb" r"ian\.org)\b"
)  # fmt: skip


def found(pattern: re.Pattern[str], *, endings: tuple[str, ...] = ()) -> list[str]:
    places = []
    for path, text in texts():
        if endings and not path.name.endswith(endings):
            continue
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            places.append(f"{path.relative_to(PROJECT)}:{line} {match.group()}")
    return places


def test_nothing_is_left_for_later() -> None:
    assert (
        found(UNFINISHED, endings=(".py", ".md", ".toml", ".go", ".js", ".sh", ".proto", "Makefile", "run"))
        == []
    )


def test_no_machine_and_no_registry_is_named() -> None:
    assert found(MACHINES) == []
