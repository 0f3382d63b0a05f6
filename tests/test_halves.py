"""Whatever starts Ray is in the half of the suite that does one thing after the other."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.fixture
def starts_ray(request):
    """What tests/conftest.py judges by."""
    return next(
        plugin.starts_ray
        for plugin in request.config.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(ROOT / "conftest.py")
    )


def test_every_test_that_starts_ray_is_in_its_half(request, starts_ray):
    """Judged by the marks of what this session has collected."""
    for item in request.session.items:
        if item.get_closest_marker("ray"):
            assert starts_ray(item.nodeid.split("::")[0]), item.nodeid


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("tests/actors/test_power.py", True),
        ("tests/netlab/test_lab.py", True),
        ("tests/cli/test_run_live.py", True),
        ("tests/policy/test_ha.py", False),
    ],
)
def test_files_are_told_apart_by_their_room_or_their_marks(starts_ray, file, expected):
    assert expected is starts_ray(file)
