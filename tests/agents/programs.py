"""The coding agents as people start them: each in a home of its own, with nothing but the relay to call."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumers.snippets import snippets

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "node_modules" / ".bin"
MADE = HERE / "node_modules" / ".made"
NODE = 20
"""What Gemini CLI needs at least."""
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
    """Whether `make agents` was run, and there is a node that is new enough for all that it installed."""
    node = shutil.which("node")
    if node is None or not MADE.is_file():
        return False
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return int(version.strip("v\n").partition(".")[0]) >= NODE


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
    """What came of a run: its last words, its tokens, and all that it printed."""

    text: str
    told: Told
    printed: str = field(repr=False)


@dataclass(frozen=True)
class Agent:
    """How one agent is started and read. `tools` are two of its tools, in the order of its list."""

    name: str
    title: str
    """The name of its snippet, which is what it is started with."""
    format: str
    tools: tuple[str, str]
    settings: dict[str, Any]
    """What is added to the JSON file in its home that the snippet writes: no updates, no statistics."""
    words: tuple[str, ...]
    """Its command line, up to the prompt."""
    read: Callable[[str], tuple[str, Told]]
    """The last words and the tokens, out of what it printed."""

    async def run(self, prompt: str, *, folder: Path, url: str, secret: str, model: str, proxy: str) -> Run:
        """Starts it in a folder of its own and waits for its end. Raises TimeoutError, and AssertionError
        with all that it printed where it failed."""
        home, work = folder / "home", folder / "work"
        (snippet,) = [each for each in snippets(url, secret=secret, model=model) if each.name == self.title]
        shell = snippet.place == "shell"
        if not shell:
            file = home / snippet.place.removeprefix("~/")
            file.parent.mkdir()
            file.write_text(snippet.text)
        last = shlex.split(snippet.text.splitlines()[-1])[1:] if shell else []
        lines = snippet.text.splitlines()[:-1] if shell else [f"export AETHER_API_KEY={secret}"]
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
        environment = {
            "PATH": os.pathsep.join((str(folder / "bin"), os.environ["PATH"])),
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **proxies,
            **QUIET,
        }
        script = "\n".join([*lines, 'exec "$@"'])
        for path, more in self.settings.items():
            subprocess.run(["sh", "-ec", script, "sh", "true"], check=True, env=environment)
            (home / path).write_text(json.dumps(json.loads((home / path).read_text()) | more))
        process = await asyncio.create_subprocess_exec(
            "sh", "-ec", script, "sh", str(PROGRAMS / self.name), *last, *self.words, prompt,
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
        return Run(text, told, said)


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


GEMINI = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
}

AGENTS = {
    each.name: each
    for each in (
        Agent(
            "claude", "Claude Code", "anthropic", ("Bash", "Read"), {},
            (
                "--print", "--verbose", "--output-format", "stream-json", "--tools", "Bash,Read",
                "--dangerously-skip-permissions",
            ),
            _claude,
        ),
        Agent(
            "codex", "Codex", "openai_responses", ("exec_command", "get_goal"), {},
            (
                "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
                "-c", "check_for_update_on_startup=false", "-c", "analytics.enabled=false",
                "-c", "features.plugins=false",
            ),
            _codex,
        ),
        Agent(
            "gemini", "Gemini CLI", "gemini", ("read_file", "run_shell_command"),
            {".gemini/settings.json": GEMINI},
            ("--yolo", "--skip-trust", "--output-format", "json", "--prompt"),
            _gemini,
        ),
    )
}  # fmt: skip
