"""Draw mutants: changes of one place by an operator of cosmic-ray, on a line that tests run.

A place counts once for each kind of change, however many ways the kind has: otherwise eleven ways
to replace one `+` would crowd out the comparisons. What stands in annotations is never run.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ifllm_hf.files import digest
from tests.mutation.covering import Covering
from tests.mutation.rooms import ROOT, Room


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: From the root.
        line: Where the change begins, from 1.
        operator: The name that cosmic-ray gives it.
        occurrence: Which of the operator's places in the file.
        source: Digest of the unchanged file.
        was: The lines that are changed, stripped.
        now: What they become, stripped.
        tests: The tests that judge it, in their order.
        seconds: What these tests take, about.
    """

    file: str
    line: int
    operator: str
    occurrence: int
    source: str
    was: str
    now: str
    tests: tuple[str, ...]
    seconds: float

    def code(self) -> str:
        """Return the changed file."""
        return _mutated((ROOT / self.file).read_text("utf-8"), self.operator, self.occurrence)


def draw(room: Room, covering: Covering, size: int, seed: int) -> list[Mutant]:
    """Draw `size` mutants of a room, the same for the same seed and sources."""
    places = sorted(
        (digest(f"{seed} {file} {kind} {line} {column} {name}"), file, name, occurrence, line)
        for file in room.sources()
        for kind, line, column, name, occurrence in _one_of_a_kind(file, seed)
    )
    known = {file: _Source(file) for file in room.sources()}
    drawn: list[Mutant] = []
    for _, file, name, occurrence, line in places:
        if len(drawn) == size:
            break
        source = known[file]
        tests = covering.tests(file, source.lines_that_run(line))
        change = source.change(name, occurrence) if tests else None
        if change is not None:
            judges = tuple(covering.judges(file, tests))
            mutant = (file, line, name, occurrence, source.digest, *change)
            drawn.append(Mutant(*mutant, tests=judges, seconds=covering.cost(judges)))
    return drawn


def _one_of_a_kind(file: str, seed: int) -> Iterator[tuple[str, int, int, str, int]]:
    """Yield kind, line, column, operator and occurrence: one operator for each place and kind."""
    ways: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
    for name, occurrence, line, column in _all_places((ROOT / file).read_text("utf-8")):
        kind = name.split("/")[-1].split("_")[0]
        ways.setdefault((kind, line, column), []).append((name, occurrence))
    for (kind, line, column), found in ways.items():
        chosen = min(found, key=lambda way: digest(f"{seed} {file} {line} {column} {way}"))
        yield kind, line, column, *chosen


def _all_places(code: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield operator, occurrence, line and column of every change that cosmic-ray knows."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(code)))
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments():  # would have to be told what to do
            continue
        instance = operator()
        found = (place for node in nodes for place in instance.mutation_positions(node))
        for occurrence, ((line, column), _) in enumerate(found):
            yield name, occurrence, line, column


def _mutated(code: str, name: str, occurrence: int) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    return str(mutate_code(code, get_operator(name)(), occurrence))


class _Source:
    """A file as it is."""

    def __init__(self, file: str) -> None:
        self.code = (ROOT / file).read_text("utf-8")
        self.digest = digest(self.code)
        self._tree = ast.parse(self.code)

    @cached_property
    def _statements(self) -> list[tuple[int, int, ast.stmt]]:
        """First and last line of each statement; of one with a body, its head. Inner ones last."""
        found = []
        for node in ast.walk(self._tree):
            if isinstance(node, ast.stmt):
                decorators = getattr(node, "decorator_list", [])
                first = min([node.lineno, *(d.lineno for d in decorators)])
                body = getattr(node, "body", None)
                last = max(first, body[0].lineno - 1) if body else node.end_lineno
                found.append((first, last or first, node))
        return found

    @cached_property
    def _inside_functions(self) -> set[int]:
        lines: set[int] = set()
        for node in ast.walk(self._tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
        return lines

    def lines_that_run(self, line: int) -> set[int]:
        """Return the lines whose tests judge a change of this line.

        Inside a function those of its statement. The head of a function is judged by what runs the
        function, all else (constants, fields) by what runs any function of the file.
        """
        around = [s for s in self._statements if s[0] <= line <= s[1]]
        if not around:  # the head of an `except`
            return {line}
        first, last, node = around[-1]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return set(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
        if first not in self._inside_functions:
            return self._inside_functions
        return set(range(first, last + 1))

    def change(self, name: str, occurrence: int) -> tuple[str, str] | None:
        """Return the changed lines before and after; None where code does not change or compile."""
        code = _mutated(self.code, name, occurrence)
        try:
            changed = ast.dump(_without_annotations(ast.parse(code)))
            compile(code, "mutant", "exec", dont_inherit=True)
        except SyntaxError:
            return None
        if changed == ast.dump(_without_annotations(ast.parse(self.code))):
            return None
        lines = list(difflib.ndiff(self.code.splitlines(), code.splitlines()))
        was, now = ([x[2:].strip() for x in lines if x.startswith(sign)] for sign in ("- ", "+ "))
        return "\n".join(was), "\n".join(now)


def _without_annotations(tree: ast.Module) -> ast.Module:
    """Blank annotations: `from __future__ import annotations` makes text of them, never run."""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, None if name == "returns" else ast.Constant(0))
    return tree
