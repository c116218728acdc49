"""What the documents say of the coding agents is what the tests run."""

from __future__ import annotations

import json

from tests.agents.programs import AGENTS, HERE
from tests.agents.test_agents import CHOOSES, SEARCHES, THINKS
from tests.programs import ROOT
from wire import FORMATS

NAMES = {
    "claude": ("Claude Code", "@anthropic-ai/claude-code"),
    "codex": ("Codex", "@openai/codex"),
    "gemini": ("Gemini CLI", "@google/gemini-cli"),
}


def test_the_table_has_each_agent_in_its_version_on_each_format() -> None:
    page = (ROOT / "docs/conversion.md").read_text()
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    for agent in AGENTS.values():
        name, package = NAMES[agent.name]
        cells = ["its own" if form == agent.format else "yes" for form in FORMATS]
        assert f"| {' | '.join((name, versions[package], *cells))} |" in page
    head = f"| agent | version | {' | '.join(FORMATS)} |"
    assert head in page


def test_the_lock_has_the_versions_that_are_asked_for() -> None:
    asked = json.loads((HERE / "package.json").read_text())["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert all("integrity" in each for name, each in locked.items() if name)


def test_the_readme_names_the_models_that_gemini_cli_asks_for() -> None:
    page = (ROOT / "README.md").read_text()
    assert {name for name in (SEARCHES, CHOOSES, THINKS["gemini"]) if f"`{name}`" not in page} == set()
