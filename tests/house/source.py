"""The project as its house tests see it: parsed modules of `src`, and every text file."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "pillion"
_NOT_OURS = {"node_modules", "__pycache__", "bin", "obj", "build", "dist"}


@dataclass(frozen=True)
class Module:
    """One file of `src`, parsed once."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
        """The place a reader jumps to."""
        return f"{self}:{node.lineno}"

    def __str__(self) -> str:
        inside = self.path.is_relative_to(PROJECT)
        return str(self.path.relative_to(PROJECT) if inside else self.path)


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of `src`, in order; parsed once for all house tests."""
    return tuple(Module(path) for path in sorted(SOURCE.rglob("*.py")))


def classes(module: Module) -> Iterator[ast.ClassDef]:
    """Every class, nested ones included."""
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file that we write, whatever it is; folders with a leading dot are tools' own, save `.ci`."""
    for path in sorted(_files(PROJECT)):
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or path.name in _NOT_OURS or (path.name.startswith(".") and path.name != ".ci"):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
