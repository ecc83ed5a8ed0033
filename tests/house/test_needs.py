"""What happens to a test whose tool is not on the machine."""

from pathlib import Path

import pytest
from support import needs
from support.needs import Tool, verdict

from tests.house.source import PROJECT
from tools.needs import table


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "here": Tool(lambda: True),
        "absent": Tool(lambda: False),
        "rare": Tool(lambda: False, brought=False),
    }
    monkeypatch.setattr(needs, "TOOLS", made)


@pytest.mark.parametrize(
    ("names", "in_ci", "done"),
    [
        (["here"], True, None),
        ([], True, None),
        (["here", "absent"], False, "skip"),
        (["absent"], True, "fail"),
        (["rare"], True, "skip"),
        (["rare", "absent"], True, "fail"),
    ],
)
def test_a_missing_tool_skips_a_test_and_in_ci_fails_it_if_ci_brings_the_tool(
    names: list[str], in_ci: bool, done: str | None
) -> None:
    found = verdict(names, in_ci=in_ci)
    assert (found and found[0]) == done


def test_the_sentence_names_each_missing_tool() -> None:
    found = verdict(["absent", "here", "rare"], in_ci=False)
    assert found is not None
    assert "absent is not here" in found[1]
    assert "rare is not here" in found[1]


def test_every_row_of_the_needs_has_three_columns_and_a_source() -> None:
    assert (PROJECT / "tests" / "needs").is_file()
    assert all(package != "-" or wheel != "-" for _, package, wheel in table())


def test_ci_is_told_to_run_the_same_command_as_a_person() -> None:
    script = Path(PROJECT / ".ci" / "run")
    assert script.stat().st_mode & 0o100
    assert "make --no-print-directory test" in script.read_text()
