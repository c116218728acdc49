"""Secrets and private words that must be found nowhere, a request that carries them in each format, and the
places where they are looked for."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from aether.configexport import as_yaml, export_config
from aether.redaction import LineFormatter
from tests.counts import count
from tests.pages import world
from tests.relay.asks import Ask

VENDOR = {
    "first vendor key": "sk-canary-upstream-first-0123456789",
    "second vendor key": "Canary~Upstream.Second/42",
    "Anthropic's vendor key": "Canary~Anthropic.Third/43",
    "Gemini's vendor key": "AIzaCanaryGeminiFourth-0123456789",
    "an endpoint's extra header": "Canary~Extra.Header/44",
}  # fmt: skip
"""Some tell themselves by their shape, some only by their value."""
SAID = {
    "prompt": "xylophone canary of the prompt", "system prompt": "xylophone canary of the system",
    "tool arguments": "xylophone canary of the arguments", "tool result": "xylophone canary of the result",
    "image": base64.b64encode(b"xylophone canary of the image").decode(),
    "user": "xylophone-canary-of-the-user", "metadata": "xylophone-canary-of-the-metadata",
    "custom field": "xylophone-canary-of-a-field",
}  # fmt: skip
BROUGHT = {
    "cookie": "xylophone-canary-of-the-cookie", "proxy credential": "eHlsb3Bob25lLWNhbmFyeQ-proxy",
    "forwarded credential": "xylophone-canary-of-forwarding",
    "custom credential": "xylophone-canary-of-a-header",
}  # fmt: skip
"""In headers that a client had no reason to send."""
HEADERS = {
    "cookie": f"sessionid={BROUGHT['cookie']}",
    "proxy-authorization": f"Basic {BROUGHT['proxy credential']}",
    "x-forwarded-authorization": f"Bearer {BROUGHT['forwarded credential']}",
    "x-team-secret": BROUGHT["custom credential"],
}  # fmt: skip
ANSWER = "here is the final word"
"""Stands in what the simulator answers."""


def body(ask: Ask, model: str) -> dict[str, Any]:
    """A request that holds everything that was SAID, where its format has a place for it."""
    said = {"x": SAID["tool arguments"]}
    arguments, data = json.dumps(said), f"data:image/png;base64,{SAID['image']}"
    more = {"user": SAID["user"], "metadata": {"user_id": SAID["metadata"]}, "x_custom": SAID["custom field"]}
    parts: list[Any]
    turns: list[Any]
    match ask.format:
        case "openai_chat":
            call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
            image = {"type": "image_url", "image_url": {"url": data}}
            turns = [
                {"role": "system", "content": SAID["system prompt"]},
                {"role": "user", "content": [{"type": "text", "text": SAID["prompt"]}, image]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": SAID["tool result"]},
            ]
            return ask.body(model, messages=turns, **more)
        case "openai_responses":
            parts = [
                {"type": "input_text", "text": SAID["prompt"]},
                {"type": "input_image", "image_url": data},
            ]
            turns = [
                {"role": "user", "content": parts},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": arguments},
                {"type": "function_call_output", "call_id": "call_1", "output": SAID["tool result"]},
            ]
            return ask.body(model, input=turns, instructions=SAID["system prompt"], **more)
        case "anthropic":
            source = {"type": "base64", "media_type": "image/png", "data": SAID["image"]}
            parts = [{"type": "text", "text": SAID["prompt"]}, {"type": "image", "source": source}]
            use = {"type": "tool_use", "id": "t1", "name": "f", "input": said}
            result = {"type": "tool_result", "tool_use_id": "t1", "content": SAID["tool result"]}
            turns = [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result]},
            ]
            return ask.body(model, messages=turns, system=SAID["system prompt"], **more)
        case _:
            media = {"inlineData": {"mimeType": "image/png", "data": SAID["image"]}}
            answered = {"name": "f", "response": {"r": SAID["tool result"]}}
            turns = [
                {"role": "user", "parts": [{"text": SAID["prompt"]}, media]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": said}}]},
                {"role": "user", "parts": [{"functionResponse": answered}]},
            ]
            system = {"parts": [{"text": SAID["system prompt"]}]}
            return ask.body(model, contents=turns, systemInstruction=system, **more)


def server_secrets() -> dict[str, str]:
    """The server's own."""
    return {
        "pepper": settings.AETHER_KEY_PEPPER.decode(),
        "encryption key": base64.b64encode(next(iter(settings.AETHER_ENCRYPTION_KEYS.values()))).decode(),
        "SECRET_KEY": settings.SECRET_KEY,
        "password": world.PASSWORD,
    }


# Where they are looked for


class Logged(logging.Handler):
    """Every line that is logged at whatever level, as it would be without and with the redaction."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.plain: list[str] = []
        self.redacted: list[str] = []
        self._line = LineFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore")):  # the test's own client
            self.plain.append(f"{record.name} {self.format(record)}")
            self.redacted.append(self._line.format(record))


@contextmanager
def logged() -> Iterator[Logged]:
    """Catches all lines. To be entered when Django is set up: that takes the root's handlers away."""
    handler, root = Logged(), logging.getLogger()
    quiet = [each for each in (logging.getLogger(name) for name in ("uvicorn", "django")) if each.level]
    templates = logging.getLogger("django.template")  # tells every variable that a page does without
    before = [(each, each.level) for each in (root, *quiet, templates)]
    for each, _ in before:
        each.setLevel(logging.INFO if each is templates else logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for each, level in before:
            each.setLevel(level)


def files(root: Path) -> dict[str, str]:
    """Everything that lies under a directory."""
    return {
        str(path.relative_to(root)): path.read_bytes().decode("utf-8", "replace")
        for path in root.rglob("*")
        if path.is_file()
    }


def tables() -> dict[str, str]:
    """Every table of the database as text, but for ciphertexts and what an operator wrote for an endpoint."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            names = [column[0] for column in cursor.description]
            hidden = {
                number
                for number, name in enumerate(names)
                if name == "sealed" or (table, name) == ("providers_endpoint", "headers")
            }
            found[table] = "\n".join(
                repr([value for number, value in enumerate(row) if number not in hidden])
                for row in cursor.fetchall()
            )
    return found


def pages() -> tuple[dict[str, str], str]:
    """Every page that the admin has of these tables, for a superuser who logs in; and the cookie."""
    world.superuser("canary-root")
    client = Client()
    entered = client.post(reverse("admin:login"), {"username": "canary-root", "password": world.PASSWORD})
    assert entered.status_code == 302
    found = {}
    urls = [reverse("admin:index")]
    for model in world.shown():
        urls += [world.address(model, "changelist"), f"{world.address(model, 'changelist')}?q=canary"]
        for row in model._default_manager.all()[: count(1, 5)]:
            urls += [world.address(model, page, row.pk) for page in ("change", "history", "delete")]
    for url in urls:
        answer = client.get(url)
        if answer.status_code == 200:
            found[url] = answer.content.decode("utf-8", "replace") + repr(answer.headers)
    return found, client.cookies[settings.SESSION_COOKIE_NAME].value


def exports() -> dict[str, str]:
    """The commands that write tables out; endpoints' headers aside, which the file is there to hold."""
    dumped = StringIO()
    call_command("dumpdata", "--exclude", "providers.endpoint", "--exclude", "sessions", stdout=dumped)
    written = export_config()
    for provider in written.get("providers", ()):
        for endpoint in provider.get("endpoints", ()):
            endpoint.pop("headers", None)
    return {"dumpdata": dumped.getvalue(), "export_config": as_yaml(written)}


def hits(texts: Mapping[str, str], canaries: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Where a canary sits: place, its name, and what stands around it."""
    return [
        (place, name, text[max(0, at - 60) : at + 100])
        for place, text in texts.items()
        for name, canary in canaries.items()
        if (at := text.find(canary)) >= 0
    ]
