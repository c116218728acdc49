"""The lock files hold what pyproject.toml asks for, exactly, with hashes, and from nowhere in particular."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.programs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
DEV = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
FIXED = {"aiohttp": "3.13.3", "h11": "0.16.0", "django": "5.2.14"}
"""The first versions without the holes that security.md names (rows 23, 25, 26, 56)."""
PIN = re.compile(r"^([\w.-]+)==([\w.!+]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return {
        canonicalize_name(package): version for package, version in PIN.findall((ROOT / name).read_text())
    }


@pytest.mark.parametrize(
    ("name", "wanted"), [("requirements.txt", RUNTIME), ("requirements-dev.txt", RUNTIME + DEV)]
)
def test_every_range_is_pinned_within_itself(name: str, wanted: list[Requirement]) -> None:
    locked = pins(name)
    for requirement in wanted:
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in {name}"
        assert version in requirement.specifier, f"{requirement} but {name} has {version}"


def test_tests_run_with_the_versions_that_serve() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_has_hashes_and_no_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    for block in re.split(r"\n(?=[A-Za-z])", text.strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:60]
    assert not re.search(r"://|--(?:index-url|extra-index-url|find-links|trusted-host)", text)


@pytest.mark.parametrize(("package", "fixed"), FIXED.items())
def test_no_pinned_version_has_a_known_hole(package: str, fixed: str) -> None:
    assert Version(pins("requirements-dev.txt")[package]) >= Version(fixed)
