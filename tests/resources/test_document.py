"""YAML text to trees that know their lines."""

from pathlib import Path
from typing import Any

import pytest

from pillion.resources import document
from pillion.resources.document import MAX_BYTES, Node, overlay, parse, read
from pillion.resources.problems import Report


def trees(text: str) -> tuple[list[Node], list[str]]:
    report = Report()
    found = parse(text, "a.yaml", report)
    return found, [str(problem) for problem in report.problems]


def value(text: str) -> Any:
    found, problems = trees(text)
    assert problems == []
    return found[0].plain()


def test_every_node_knows_its_line() -> None:
    found, _ = trees("a: 1\nb:\n  - x\n  - c: 2\n")
    top = found[0].fields
    assert top["b"].source.line == 2
    assert top["b"].items[0].source.line == 3
    assert top["b"].items[1].fields["c"].source.line == 4


def test_lines_count_on_through_the_documents_of_a_file() -> None:
    found, _ = trees("# head\n---\na: 1\n--- # second\n\nb: 2\n")
    assert [(each.plain(), each.source.line) for each in found] == [({"a": 1}, 3), ({"b": 2}, 6)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a: true", True),
        ("a: yes", True),
        ("a: off", False),
        ("a: 12", 12),
        ("a: 0x1F", 31),
        ("a: 0777", 511),
        ("a: 1_000", 1000),
        ("a: 1.5", 1.5),
        ("a: 1e3", 1000.0),
        ("a: 1:30", "1:30"),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: '12'", "12"),
        ("a: ~", None),
        ("a:", None),
        ("a: =", "="),
        ("a: !custom x", "x"),
        ("a: !!python/object/apply:os.system [ls]", ["ls"]),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: 0.0.0.0", "0.0.0.0"),
        ("a: 1e", "1e"),
    ],
)
def test_scalars_are_read_as_dapr_reads_them(text: str, read: object) -> None:
    assert value(text) == {"a": read}
    assert type(value(text)["a"]) is type(read)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("yes", "true"),
        ("1.0", "1"),
        ("1.10", "1.1"),
        ("1e3", "1000"),
        ("0.5", "0.5"),
        ("007", "7"),
        ("x", "x"),
        ("~", None),
    ],
)
def test_a_scalar_as_text_is_what_dapr_hands_on(text: str, written: str | None) -> None:
    found, _ = trees(f"a: {text}")
    assert found[0].fields["a"].text == written


def test_an_alias_stands_where_it_is_used() -> None:
    found, _ = trees("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\n")
    assert found[0].plain() == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}}
    assert found[0].fields["b"].source.line == 2


def test_what_is_written_wins_over_what_is_merged_in() -> None:
    assert value("a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y], m: 4}")["c"] == {"k": 1, "m": 4}


def test_a_document_that_is_not_yaml_is_told_and_the_others_stay() -> None:
    found, problems = trees("a: 1\n---\nb: [1\nc: 2\n---\nd: 3\n")
    assert [each.plain() for each in found] == [{"a": 1}, {"d": 3}]
    assert len(problems) == 1
    assert problems[0].startswith("a.yaml:4: not valid YAML: did not find expected ',' or ']'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *nope", "unknown anchor"),
        ("a: &a [*a]", "unknown anchor"),
        ("? [1]\n: 2", "a field's name must be text"),
        ("a: \x01", "character"),
        ("[" * 100_000, "nested deeper than 100 levels"),
        ("a: {" * 200 + "}" * 200, "nested deeper"),
    ],
)
def test_hostile_text_is_refused(text: str, said: str) -> None:
    found, problems = trees(text)
    assert found == []
    assert said in problems[0]


def test_aliases_cannot_grow_a_small_file_into_a_huge_one() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)]
    found, problems = trees("\n".join(lines))
    count = len(found)  # by number: a failing comparison would write the whole tree out
    assert count == 0
    assert "once its aliases are written out" in problems[0]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report()
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    (tmp_path / "huge.yaml").write_text("a: 1\n" + "#" * 200)
    monkeypatch.setattr(document, "MAX_BYTES", 100)
    for name in ("latin.yaml", "huge.yaml", "missing.yaml"):
        assert read(tmp_path / name, report) == []
    assert [problem.message.split(":")[0] for problem in report.problems] == [
        "not UTF-8 text",
        "larger than 0 MiB",
        "cannot be read",
    ]
    assert MAX_BYTES == 16 * 1024 * 1024


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read(tmp_path / "bom.yaml", Report())[0].plain() == {"a": 1}


def test_an_overlay_merges_mappings_and_replaces_the_rest() -> None:
    below, above = trees("a: {x: 1, y: [1, 2]}\nb: 1\n---\na: {y: [3]}\nc: 2\n")[0]
    assert overlay(below, above).plain() == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
