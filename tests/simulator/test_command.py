from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import aether
from simulator import ports

MANAGE = Path(aether.__file__).parent.parent / "manage.py"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, MANAGE, "simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "aether.settings"),
        },
    )


def test_it_tells_its_address_serves_and_ends_cleanly_on_an_interrupt() -> None:
    with start("--port", "0") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found, first
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.request.Request(found[0] + "/v1/models", headers={"Authorization": "Bearer sk-a"})
        with opener.open(asked, timeout=10) as answer:
            assert b'"sim"' in answer.read()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert process.stderr is not None
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0
    assert "curl" in rest
    assert "Traceback" not in errors


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with ports.refused() as port, start("--port", str(port)) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "--port" in errors
    assert "Traceback" not in errors
