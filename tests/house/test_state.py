"""No module holds state: two runtimes live in one process."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import Module, modules

CONTAINERS = {
    "dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "ChainMap",
    "WeakValueDictionary", "WeakKeyDictionary", "WeakSet", "count", "cycle", "Event", "Semaphore",
    "Condition", "ContextVar", "local",
}  # fmt: skip
CHANGES = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "appendleft",
    "clear", "remove", "discard", "sort", "reverse",
}  # fmt: skip
DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements a module runs when imported, those under `if` and `try` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from top_level([*node.body, *node.orelse])


def bound(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def called(value: ast.expr) -> str:
    if not isinstance(value, ast.Call):
        return ""
    return value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")


def empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return not (value.args or value.keywords)
    return not (getattr(value, "keys", None) or getattr(value, "elts", None) or hasattr(value, "generators"))


def changed(module: Module) -> set[str]:
    """The names that some line changes in place or rebinds with `global`."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        match node:
            case ast.Global():
                names.update(node.names)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in CHANGES:
                names.add(name)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                names.add(name)
    return names


def stateful(module: Module) -> list[str]:
    """Names bound at import to something that changes; filling a table while importing counts too."""
    found = []
    touched = changed(module)
    for node in top_level(module.tree.body):
        for name, value in bound(node):
            if not (isinstance(value, DISPLAYS) or called(value) in CONTAINERS) or name == "__all__":
                continue
            constant = name.lstrip("_").isupper() and not empty(value) and name not in touched
            if not constant:
                found.append(f"{module.at(node)} {name}")
    return found


def parsed(tmp_path: Path, text: str) -> Module:
    path = tmp_path / "m.py"
    path.write_text(text)
    return Module(path)


def test_no_module_of_src_holds_state() -> None:
    # A file of the test kit is a list of checks, filled by a decorator as it is imported: no part of a runtime.
    running = [module for module in modules() if "testing" not in module.path.parts]
    assert [place for module in running for place in stateful(module)] == []


def test_no_function_rebinds_a_global() -> None:
    rebinds = [m.at(n) for m in modules() for n in ast.walk(m.tree) if isinstance(n, ast.Global)]
    assert rebinds == []


def test_no_module_of_src_keeps_an_unbounded_cache() -> None:
    found = [m.at(n) for m in modules() for n in ast.walk(m.tree) if isinstance(n, ast.expr) and unbounded(n)]
    assert found == []


def unbounded(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="lru_cache") | ast.Attribute(attr="lru_cache")):
            sizes = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "maxsize")]
            return any(isinstance(size, ast.Constant) and size.value is None for size in sizes)
        case ast.Attribute(value=ast.Name(id="functools"), attr="cache"):
            return True
    return False


@pytest.mark.parametrize(
    "text",
    [
        "seen = {}",
        "_SEEN = []",
        "CACHE: dict[str, int] = dict()",
        "TABLE = {'a': 1}\ndef f():\n    TABLE['b'] = 2",
    ],
)
def test_the_check_sees_state(tmp_path: Path, text: str) -> None:
    assert len(stateful(parsed(tmp_path, text))) == 1


@pytest.mark.parametrize("text", ["TABLE = {'a': 1}", "_NAMES = ['a']", "__all__ = []", "x = (1, 2)"])
def test_the_check_lets_constants_be(tmp_path: Path, text: str) -> None:
    assert stateful(parsed(tmp_path, text)) == []
