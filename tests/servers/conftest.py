from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.servers.daemon import needs
from tests.servers.stage import PROGRAMS, Stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """All servers, before the change; one stage for the tests of a module."""
    needs(*PROGRAMS)
    with Stage() as built:
        yield built


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the servers said."""
    report = yield
    built = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(built, Stage):
        report.sections.append(("servers", built.log()))
    return report
