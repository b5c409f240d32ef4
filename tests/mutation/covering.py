"""Which tests run which lines, and what each of them costs alone: a plugin of pytest.

    IFLLM_COVERING=out.json python -m pytest -p tests.mutation.covering ...

`$IFLLM_COVERED_FILES` names the files that are watched, one a line. What a fixture of a module or a
session runs counts for every test that asks for the fixture, not for the one that came first.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.rooms import mirrored, mirrored_folder

# A mutant is judged by at most so many tests beside those of the mirrored file ...
MOST_TESTS = 150
# ... and by no more than cost so many seconds of a core.
MOST_SECONDS = 25.0


class Covering:
    """What the tests of a room run and cost.

    Attributes:
        lines: Per file and line, the tests and wide fixtures that run it.
        seconds: Of each test that passed, without wide fixtures; and of each wide fixture.
        fixtures: The wide fixtures of each test that passed.
    """

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Take what the plugin wrote."""
        self.lines: dict[str, dict[str, list[str]]] = stored["lines"]
        self.seconds: dict[str, float] = stored["seconds"]
        self.fixtures: dict[str, list[str]] = stored["fixtures"]
        self._tests_of: dict[str, list[str]] = defaultdict(list)
        for test, names in self.fixtures.items():
            for name in names:
                self._tests_of[name].append(test)
        by = {c for of_file in self.lines.values() for names in of_file.values() for c in names}
        running = by.union(*(self._tests_of[name] for name in by))
        self._elsewhere = sorted(self.fixtures.keys() - running, key=lambda t: self.cost([t]))

    def tests(self, file: str, lines: Iterable[int]) -> set[str]:
        """Return the tests that run any of these lines."""
        of_file = self.lines.get(file, {})
        by = {context for line in lines for context in of_file.get(str(line), ())}
        direct = {context for context in by if context in self.fixtures}
        return direct.union(*(self._tests_of[name] for name in by - direct))

    def cost(self, tests: Iterable[str]) -> float:
        """Return the seconds that these tests take together."""
        chosen = list(tests)
        wide = {name for test in chosen for name in self.fixtures[test]}
        return sum(self.seconds[name] for name in [*chosen, *wide])

    def judges(self, file: str, tests: set[str]) -> list[str]:
        """Choose among the tests that run a line of `file`; cheap first, files kept together.

        Those of the mirrored folder that run no line here come last: they start other processes.
        """
        cheap = sorted(tests, key=lambda test: (self.cost([test]), test))
        wanted = [test for i, test in enumerate(cheap) if i < MOST_TESTS or mirrored(file, test)]
        folder = mirrored_folder(file) + "/"
        wanted += [test for test in self._elsewhere if test.startswith(folder)]
        chosen: list[str] = []
        for test in wanted:
            if not chosen or self.cost([*chosen, test]) <= MOST_SECONDS:
                chosen.append(test)
        # A file that is left and entered again would set up its fixtures again.
        order: dict[str, int] = {}
        for test in chosen:
            order.setdefault(test.partition("::")[0], len(order))
        return sorted(chosen, key=lambda test: order[test.partition("::")[0]])


class _Watch:
    """Notes who runs what while the tests run."""

    def __init__(self, root: Path, files: list[str], out: Path) -> None:
        import coverage

        self._root, self._files, self._out = root, files, out
        watched = [str(root / file) for file in files]
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=watched)
        self._coverage.start()
        self._context = ""
        self._seconds: dict[str, float] = defaultdict(float)
        self._fixtures: dict[str, list[str]] = {}
        self._passed: set[str] = set()
        self._in_fixtures = 0.0

    def _switch(self, context: str) -> str:
        before, self._context = self._context, context
        self._coverage.switch_context(context)
        return before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._in_fixtures, start = 0.0, _core_seconds()
        before = self._switch(item.nodeid)
        result = yield
        self._switch(before)
        self._seconds[item.nodeid] = _core_seconds() - start - self._in_fixtures
        self._fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        name = f"{fixturedef.argname} of {fixturedef.baseid}"
        start, before = _core_seconds(), self._switch(name)
        try:
            return (yield)
        finally:
            self._switch(before)
            took = _core_seconds() - start
            self._in_fixtures += took
            self._seconds[name] = max(self._seconds[name], took)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            file: {
                str(line): [c for c in contexts if c in self._passed or " of " in c]
                for line, contexts in data.contexts_by_lineno(str(self._root / file)).items()
            }
            for file in self._files
        }
        wide = [name for name in self._seconds if name not in self._fixtures]
        fixtures = {
            test: [n for n in wide if _asks_for(test, self._fixtures[test], n)]
            for test in sorted(self._passed)
        }
        stored = {"lines": lines, "seconds": self._seconds, "fixtures": fixtures}
        self._out.write_text(json.dumps(stored))


def _core_seconds() -> float:
    """Return what this process and those that it waited for have used; load changes it little."""
    return sum(os.times()[:4])


def _asks_for(test: str, names: list[str], wide: str) -> bool:
    name, _, place = wide.partition(" of ")
    return name in names and test.startswith(place)


def pytest_configure(config: pytest.Config) -> None:
    """Watch."""
    files = os.environ["IFLLM_COVERED_FILES"].split("\n")
    config.pluginmanager.register(
        _Watch(config.rootpath, files, Path(os.environ["IFLLM_COVERING"]))
    )
