from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aether.datadir import private_directory, private_file
from relay.knobs import Knobs
from tests.programs import ROOT, environment, manage
from tests.settings import ENVIRONMENT

EXAMPLE = ROOT / ".env.example"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("RELAY_CONNECT_TIMEOUT", "fast"),
        ("AETHER_ENCRYPTION_KEYS", "x" * 40),
        ("SECRET_KEY", "tiny"),
    ],
)
def test_a_bad_variable_stops_every_command_with_one_line_that_names_it(
    tmp_path: Path, name: str, value: str
) -> None:
    ended = manage("check", env=environment(tmp_path, **{name: value}))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert name in ended.stderr
    assert value not in ended.stderr or name not in {"AETHER_ENCRYPTION_KEYS", "SECRET_KEY"}


def test_an_https_address_makes_the_deployment_check_clean(tmp_path: Path) -> None:
    env = environment(tmp_path, AETHER_PUBLIC_URL="https://relay.example.com", ALLOWED_HOSTS=None)
    ended = manage("check", "--deploy", "--fail-level", "WARNING", env=env)
    assert ended.returncode == 0, ended.stderr


def test_every_variable_is_explained_in_the_example_and_the_example_names_no_other() -> None:
    used = set(re.findall(r'(?:env\.\w+|find)\(\s*"([A-Z_]+)"', (ROOT / "aether/settings.py").read_text()))
    explained = re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(used)


def test_the_examples_defaults_are_the_real_ones(tmp_path: Path) -> None:
    env = environment(tmp_path, **{name: None for name in ENVIRONMENT if name.startswith("RELAY_")})
    program = (
        "import json; from aether import settings as s;"
        "print(json.dumps({name: getattr(s, name) for name in dir(s) if name.startswith('RELAY_')}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    real = json.loads(answer.stdout)
    for name, value in re.findall(r"^#(RELAY_[A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE):
        told = value == "on" if isinstance(real[name], bool) else type(real[name])(value)
        assert told == real[name], name


def test_the_data_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    path = private_directory(tmp_path / "some" / "data")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_empty_open_directory_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir(mode=0o755)
    private_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_open_directory_with_content_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letter").touch()
    with pytest.raises(ImproperlyConfigured, match="chmod 700"):
        private_directory(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match="AETHER_DATA_DIR"):
        private_directory(tmp_path / "file" / "data")


def test_the_database_file_and_its_companions_are_for_us_alone(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    assert manage("migrate", "changes", "-v0", env=env).returncode == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_an_existing_database_file_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    private_file(path)
    assert path.read_bytes() == b"content"


def test_every_knob_is_heeded_by_somebody() -> None:
    sources = [path for app in ("aether", "relay", "usage") for path in (ROOT / app).rglob("*.py")]
    code = "".join(path.read_text() for path in sources if path.name != "settings.py")
    knobs = re.findall(r'"(RELAY_[A-Z_]+)"', (ROOT / "aether/settings.py").read_text())
    obeyed = {f"RELAY_{name.upper()}" for name in Knobs.__slots__} | {*re.findall(r"settings\.(\w+)", code)}
    obeyed |= {"RELAY_ROUTING_MODE"}  # it can only say what is so
    assert [name for name in knobs if name not in obeyed] == []
