"""What the tests of the optimiser share."""

import pytest


def pytest_collection_modifyitems(items):
    """Whichever test is first compiles the search, which takes minutes where others keep the cores busy."""
    for item in items:
        if "tests/drs/" in item.nodeid and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))
