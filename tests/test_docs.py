"""The documents say what is so: links lead somewhere, commands and options exist, names are the code's."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands, load_command_class

from providers.conformance import Verdict
from providers.drills import Drill
from providers.models import ConversionPolicy
from providers.quirks import QUIRKS
from tests.programs import ROOT
from wire import azure
from wire.quirks import EDITED

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "simulator/README.md"])
OURS = ("aether", "relay", "providers", "consumers", "usage", "wire", "changes", "simulator", "tests")
PARTS = f"(?:{'|'.join(OURS)})"
NEW = "acme"
"""The format that docs/adding-a-format.md makes up."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Where a link into the page may lead."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pages
def test_every_command_that_is_named_exists_with_its_options(page: Path) -> None:
    for line in re.findall(r"manage\.py ([a-z_]+[^`\n#]*)", page.read_text()):
        name, *words = line.split()
        assert name in get_commands(), line
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        known = {option for action in parser._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known, line


@pages
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)
    assert {*named} <= targets


@pages
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for name in re.findall(rf"`({PARTS}/[\w/]*(?:\.\w+|/))`", page.read_text()):
        if NEW not in name:
            assert (ROOT / name).exists(), name


@pages
def test_every_name_of_the_code_that_is_named_is_there(page: Path) -> None:
    for name in re.findall(rf"`({PARTS}\.[\w.]*\w)(?:\(.*?\))?`", page.read_text()):
        if not name.endswith((".py", ".md", ".log", ".sqlite3", ".yaml", ".lock", ".dump")):
            resolve(name)


def resolve(name: str) -> object:
    """What a dotted name stands for. Raises ImportError or AttributeError."""
    module, *rest = name.split(".")
    found: object = importlib.import_module(module)
    for part in rest:
        module += f".{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(module)
    return found


def test_every_variable_that_is_named_is_one() -> None:
    known = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    makes = {"AETHER_PROOF", "AETHER_API_KEY", "AETHER_TEST_DATABASE_URL", "AETHER_ENV_FILE"}
    for page in PAGES:
        named = set(re.findall(r"\b((?:RELAY|AETHER)_[A-Z_]+)\b", page.read_text()))
        assert named <= known | makes, page


def test_every_command_of_ours_is_in_the_operators_guide() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    ours = {name for name, app in get_commands().items() if app in OURS and app != "tests"}
    assert {name for name in ours if f"manage.py {name}" not in text} == set()


def test_every_page_is_linked_from_the_readme_or_the_architecture() -> None:
    linked = (ROOT / "README.md").read_text() + (ROOT / "docs/architecture.md").read_text()
    assert {page.name for page in ROOT.glob("docs/*.md") if f"{page.name})" not in linked} == set()


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, app in get_commands().items():
        if app in OURS:
            with pytest.raises(SystemExit) as ended:
                call_command(name, "--help")
            assert ended.value.code == 0
            command = load_command_class(str(app), name)
            assert command.help, name
            for action in command.create_parser("manage.py", name)._actions:
                assert action.help or isinstance(action, argparse._VersionAction), (name, action.dest)
    assert capsys.readouterr().out.count("usage:") >= 8


def test_the_page_of_quirks_tells_of_each_and_of_no_other() -> None:
    page = (ROOT / "docs/quirks.md").read_text()
    settings, _, meanings = page.partition("## What each does")
    rows = re.findall(r"^\| `(\w+)`( ●)? \|", meanings, re.MULTILINE)
    assert [name for name, _mark in rows] == list(QUIRKS)
    assert {name for name, mark in rows if mark} == EDITED | {azure.QUIRK, "no_include_usage"}
    vendors = re.findall(r"^\|[^|]+\| Chat[^|]*\|[^|]+\|(.+)\|$", settings, re.MULTILINE)
    assert len(vendors) > 5
    assert set(re.findall(r"`(\w+)`", " ".join(vendors))) <= set(QUIRKS)


def test_the_faults_and_the_policies_of_conversion_are_named_in_their_pages() -> None:
    drills = (ROOT / "docs/operating.md").read_text().partition("### Game day")[2]
    assert {fault for fault in Drill.Fault.values if f"`{fault}`" not in drills} == set()
    policies = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/conversion.md").read_text(), re.MULTILINE)
    assert set(policies) == set(ConversionPolicy.values)
    rows = (ROOT / "docs/operating.md").read_text().partition("### Conformance")[2].partition("###")[0]
    assert {verdict.label for verdict in Verdict if f"*{verdict.label}*" not in rows} == set()
