"""The coding agents as people start them: each in a home of its own, with nothing but the relay to call."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "node_modules" / ".bin"
MADE = HERE / "node_modules" / ".made"
SECONDS = 60
"""After which a run is ended."""
QUIET = {
    "CI": "1",
    "NO_COLOR": "1",
    "TERM": "xterm-256color",
    "IS_SANDBOX": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "GEMINI_CLI_NO_RELAUNCH": "true",
}
"""No telemetry, no updates, no second process."""


def installed() -> bool:
    """Whether `make agents` was run, and node is here to run what it installed."""
    return MADE.is_file() and shutil.which("node") is not None


@dataclass(frozen=True)
class Told:
    """Tokens as an agent sums them up: the input with what was read of a cache, the output with reasoning;
    `cached` and `reasoning` are parts of these, None where it does not tell them."""

    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True)
class Run:
    """What came of a run: its exit status, its last words, its tokens, and all that it printed."""

    status: int
    text: str
    told: Told
    printed: str = field(repr=False)


@dataclass(frozen=True)
class Agent:
    """How one agent is started and read. `tools` are two of its tools, in the order of its list."""

    name: str
    format: str
    tools: tuple[str, str]
    settings: Callable[[str], Mapping[str, str]]
    """Its files, by their place in the home, for the relay's address."""
    variables: Callable[[str, str, str], Mapping[str, str]]
    """For address, API key and model."""
    words: Callable[[str, str], list[str]]
    """Its command line, for model and prompt."""
    read: Callable[[str], tuple[str, Told]]
    """The last words and the tokens, out of what it printed."""

    async def run(self, prompt: str, *, folder: Path, url: str, secret: str, model: str, proxy: str) -> Run:
        """Starts it in a folder of its own and waits for its end. Raises TimeoutError, and AssertionError
        with all that it printed where it failed."""
        home, work = folder / "home", folder / "work"
        for path, text in self.settings(url).items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
        environment = {
            "PATH": os.pathsep.join((str(folder / "bin"), os.environ["PATH"])),
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **proxies,
            **QUIET,
            **self.variables(url, secret, model),
        }
        process = await asyncio.create_subprocess_exec(
            str(PROGRAMS / self.name), *self.words(model, prompt),
            cwd=work, env=environment, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS):
                printed, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)
                await process.wait()
        said = printed.decode()
        assert process.returncode == 0, f"{said}\n{complaints.decode()}"
        text, told = self.read(said)
        return Run(process.returncode, text, told, said)


def _lines(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def _claude(printed: str) -> tuple[str, Told]:
    (result,) = [line for line in _lines(printed) if line["type"] == "result"]
    usage = result["usage"]
    cached = usage["cache_read_input_tokens"]
    whole = usage["input_tokens"] + cached + usage["cache_creation_input_tokens"]
    return result["result"], Told(whole, usage["output_tokens"], cached)


def _codex(printed: str) -> tuple[str, Told]:
    lines = _lines(printed)
    texts = [
        line["item"]["text"]
        for line in lines
        if line["type"] == "item.completed" and line["item"]["type"] == "agent_message"
    ]
    (usage,) = [line["usage"] for line in lines if line["type"] == "turn.completed"]
    reasoning = usage.get("reasoning_output_tokens")
    return texts[-1], Told(
        usage["input_tokens"], usage["output_tokens"], usage["cached_input_tokens"], reasoning
    )


def _gemini(printed: str) -> tuple[str, Told]:
    told = json.loads(printed[printed.index("{") :])
    tokens = [model["tokens"] for model in told["stats"]["models"].values()]
    prompt, candidates, thoughts, cached = (
        sum(each[name] for each in tokens) for name in ("prompt", "candidates", "thoughts", "cached")
    )
    return told["response"], Told(prompt, candidates + thoughts, cached, thoughts)


CODEX = """model_provider = "aether"
check_for_update_on_startup = false

[model_providers.aether]
name = "Aether"
base_url = "{url}/v1"
env_key = "AETHER_API_KEY"
wire_api = "responses"

[analytics]
enabled = false

[features]
plugins = false
"""
GEMINI = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
}

AGENTS = {
    each.name: each
    for each in (
        Agent(
            "claude",
            "anthropic",
            ("Bash", "Read"),
            lambda url: {".claude/settings.json": "{}"},
            lambda url, secret, model: {
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_AUTH_TOKEN": secret,
                "ANTHROPIC_MODEL": model,
                "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
            },
            lambda model, prompt: [
                "--print", "--verbose", "--output-format", "stream-json", "--tools", "Bash,Read",
                "--dangerously-skip-permissions", prompt,
            ],
            _claude,
        ),
        Agent(
            "codex",
            "openai_responses",
            ("exec_command", "get_goal"),
            lambda url: {".codex/config.toml": CODEX.format(url=url)},
            lambda url, secret, model: {"AETHER_API_KEY": secret},
            lambda model, prompt: [
                "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
                "--model", model, prompt,
            ],
            _codex,
        ),
        Agent(
            "gemini",
            "gemini",
            ("read_file", "run_shell_command"),
            lambda url: {".gemini/settings.json": json.dumps(GEMINI)},
            lambda url, secret, model: {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": secret},
            lambda model, prompt: [
                "--model", model, "--yolo", "--skip-trust", "--output-format", "json", "--prompt", prompt,
            ],
            _gemini,
        ),
    )
}  # fmt: skip
