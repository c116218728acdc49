"""`manage.py run`, what `make run` calls: set up what is missing, serve, show one request and what it
cost."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from aether import demo
from aether.boot import ensure_database, ensure_secrets
from aether.management.commands.serve import bind, port_number
from consumers.models import ApiKey, Consumer
from usage.models import Record

CALLED_AS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to call what listens everywhere
PATIENCE = 60.0
"""Seconds for the server to get ready, and for a request to be answered."""
QUESTION = "Hello! Who are you?"


class Command(BaseCommand):
    help = "Sets up what is missing, starts the server, sends a first request and keeps serving."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument(
            "--port", type=port_number, default=8000, help="port to listen on (default: 8000)"
        )

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        ensure_database()
        bind(host, port).close()
        call_command("migrate", interactive=False, verbosity=0)
        ensure_secrets()
        called = CALLED_AS.get(host, host)
        address = f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"
        made = demo.create(address) if demo.wanted() else None
        demo.aim(address)
        if made:
            self.show_secrets(made)
        connections.close_all()
        with self.server(host, port) as server:
            if ready(address, server):
                self.greet(address)
                self.show_addresses(address, made)
            elif server.poll() is None:
                self.say(_("The server does not get ready: see its messages. Ctrl-C ends."))
        if server.returncode > 0:
            sys.exit(server.returncode)

    @contextmanager
    def server(self, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """`manage.py serve` as a child, its end awaited. Ctrl-C and SIGTERM end it in good order."""
        manage = str(settings.BASE_DIR / "manage.py")
        server = subprocess.Popen(
            [sys.executable, manage, "serve", f"--host={host}", f"--port={port}"],
            env={"AETHER_SIMULATOR": "on", **os.environ},
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            # The terminal tells Ctrl-C to the child too; a SIGTERM after it changes nothing, a second SIGINT
            # would.
            signal.signal(number, lambda *_: server.terminate())
        try:
            yield server
        except BaseException:
            server.terminate()
            raise
        finally:
            server.wait()

    def say(self, text: str = "", ending: str = "\n") -> None:
        """Writes at once, also into a pipe."""
        self.stdout.write(text, ending=ending)
        self.stdout.flush()

    def show_secrets(self, made: demo.Made) -> None:
        """Shows what cannot be shown again."""
        self.say(_("This database is new. Shown only this once:"))
        if made.password:
            told = {"name": made.username, "password": made.password}
            self.say(_("  administrator  %(name)s, password %(password)s") % told)
        self.say(_("  API key        %(key)s") % {"key": made.api_key})

    def greet(self, address: str) -> None:
        """Sends one streamed request with a short-lived API key, prints the answer as it comes, then its
        record."""
        if not demo.present():
            self.say(_("The demo is gone from this database, so no first request is sent."))
            return
        api_key, secret = ApiKey.issue(
            consumer=Consumer.objects.get(name=demo.CONSUMER),
            name=f"first request {secrets.token_hex(4)}",
            expires_at=timezone.now() + timedelta(seconds=2 * PATIENCE),
        )
        try:
            request_id = self.ask(address, secret)
            if request_id:
                self.show_record(request_id)
        except httpx.HTTPError as error:
            self.say(
                _("The first request failed: %(reason)s") % {"reason": str(error) or type(error).__name__}
            )
        finally:
            api_key.delete()
            connections.close_all()

    def ask(self, address: str, secret: str) -> str:
        """Prints a streamed answer as it arrives; returns the request's id, "" where it was refused."""
        self.say()
        self.say(f"> {QUESTION}  ({demo.MODEL}, /v1/chat/completions)")
        with httpx.stream(
            "POST",
            f"{address}/v1/chat/completions",
            headers={"authorization": f"Bearer {secret}"},
            json={"model": demo.MODEL, "stream": True, "messages": [{"role": "user", "content": QUESTION}]},
            timeout=PATIENCE,
            trust_env=False,
        ) as response:
            if response.status_code != httpx.codes.OK:
                reason = response.read().decode(errors="replace")[:500]
                told = {"status": response.status_code, "reason": reason}
                self.say(_("The first request was refused (%(status)d): %(reason)s") % told)
                return ""
            for line in response.iter_lines():
                self.say(words(line), ending="")
            self.say()
            return response.headers["x-request-id"]

    def show_record(self, request_id: str) -> None:
        """Waits until the recorder has the request, and shows what it came to."""
        end = time.monotonic() + PATIENCE
        record = None
        while record is None and time.monotonic() < end:
            record = Record.objects.filter(pk=request_id).first()
            if record is None:
                time.sleep(0.05)  # the recorder is another process: there is nothing to await
        if record is None:
            self.say(_("Its record has not arrived: see the recorder's messages."))
            return
        cost = "–" if record.list_cost is None else f"${record.list_cost.normalize():f}"
        told = {
            "id": record.pk,
            "outcome": record.get_outcome_display(),
            "input": record.input_tokens,
            "output": record.output_tokens,
            "cost": cost,
            "first": record.first_token_ms,
            "total": record.total_ms,
        }
        self.say()
        self.say(_("Record %(id)s: %(outcome)s") % told)
        self.say(_("  %(input)d tokens in, %(output)d tokens out, %(cost)s") % told)
        self.say(_("  first token after %(first)s ms, all after %(total)d ms") % told)

    def show_addresses(self, address: str, made: demo.Made | None) -> None:
        """Where to go from here."""
        public = settings.AETHER_PUBLIC_URL or address
        self.say()
        self.say(_("Admin     %(url)s") % {"url": public + reverse("admin:index")})
        self.say(_("SDKs      %(url)s/v1 for OpenAI, %(url)s for Anthropic and Gemini") % {"url": public})
        self.say(_("Docs      README.md, docs/architecture.md"))
        key = made.api_key if made else "$AETHER_API_KEY"
        body = '{"model": "sim", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
        self.say()
        self.say(
            f"curl -N {address}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
            f"  -H \"Authorization: Bearer {key}\" \\\n  -d '{body}'"
        )
        self.say()
        self.say(_("Ctrl-C ends."))


def ready(address: str, server: subprocess.Popen[bytes]) -> bool:
    """Waits until the server takes requests; False where it ended or does not come up."""
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    return False


def words(line: str) -> str:
    """The text in one line of a chat stream."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return ""
    choices = json.loads(data).get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""
