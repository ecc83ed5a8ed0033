"""How the code of `src` is cut and named."""

import ast
import re
import statistics

from tests.house.source import Module, classes, functions, modules

EMPTY_NAMES = re.compile(r"(Manager|Handler|Helper|Base|Impl|Utils?)$")


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_reaches_a_thousand_lines() -> None:
    assert [str(module) for module in modules() if len(module.lines) >= 1000] == []


def test_functions_are_short() -> None:
    lengths = sorted(length(node) for module in modules() for node in functions(module))
    if len(lengths) < 2:
        return
    assert statistics.median(lengths) <= 12
    assert statistics.quantiles(lengths, n=10)[-1] < 50


def test_no_class_hides_behind_an_empty_name() -> None:
    hiding = [f"{m.at(c)} {c.name}" for m in modules() for c in classes(m) if EMPTY_NAMES.search(c.name)]
    assert hiding == []


def test_every_module_says_what_it_is() -> None:
    assert [str(module) for module in modules() if not ast.get_docstring(module.tree)] == []


def test_every_public_class_says_what_it_is() -> None:
    silent = [
        f"{m.at(c)} {c.name}" for m in modules() for c in public(m.tree.body) if not ast.get_docstring(c)
    ]
    assert silent == []


def public(body: list[ast.stmt]) -> list[ast.ClassDef]:
    """The classes a reader meets by name; a driver's settings speak for themselves, field by field."""
    named = [n for n in body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    named = [n for n in named if not n.name.endswith("Settings")]
    return named + [inner for outer in named for inner in public(outer.body)]


def test_every_broad_except_says_why_or_raises_again() -> None:
    broad = [m.at(node) for m in modules() for node in ast.walk(m.tree) if swallows(m, node)]
    assert broad == []


def swallows(module: Module, node: ast.AST) -> bool:
    """A net that catches everything, with neither a reason beside it nor a `raise` under it."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"BaseException"}
    if not names & {"Exception", "BaseException"}:
        return False
    beside = "#" in module.lines[node.lineno - 1] or "#" in module.lines[node.body[0].lineno - 1]
    return not beside and not any(isinstance(n, ast.Raise) for n in ast.walk(node))
