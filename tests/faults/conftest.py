"""Outputs to be damaged, and the counts at the end."""

import shutil

from faults import campaign
import pytest


def pytest_terminal_summary(terminalreporter):
    if campaign.WHOLE and campaign.COUNTS:
        terminalreporter.section("faults")
        for (kind, outcome), number in sorted(campaign.COUNTS.items()):
            terminalreporter.write_line(f"{kind:>36}: {number:5} {outcome}")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Made once, and only copied."""
    return campaign.make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def outputs(base, tmp_path):
    """A copy of it."""
    return shutil.copytree(base, tmp_path / "outputs")
