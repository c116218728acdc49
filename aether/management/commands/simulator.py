"""`manage.py simulator`: a vendor to try things on, alone on a port of its own."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from simulator.server import Simulator

_EXAMPLE = """\
curl -N {url}/v1/chat/completions -H 'Authorization: Bearer sk-any' \\
  -d '{{"model": "sim", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'
curl -N {url}/v1/messages -H 'x-api-key: sk-any' -H 'anthropic-version: 2023-06-01' \\
  -d '{{"model": "sim.think", "max_tokens": 100, "messages": [{{"role": "user", "content": "Hello"}}]}}'
curl -i {url}/v1/responses -H 'Authorization: Bearer sk-any' \\
  -d '{{"model": "sim.fault-429.retry-5", "input": "Hello"}}'
"""


class Command(BaseCommand):
    help = _("Runs a simulated vendor: four formats, whole and streamed, faults on demand by model name.")
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help=_("address to listen on (default: 127.0.0.1)")
        )
        parser.add_argument(
            "--port", type=int, default=9000, help=_("port to listen on, 0 for any free one (default: 9000)")
        )
        parser.add_argument(
            "--pace",
            type=int,
            default=25,
            metavar="MS",
            help=_("milliseconds between two words for model names without options (default: 25)"),
        )

    def handle(self, *args: Any, host: str, port: int, pace: int, **options: Any) -> None:
        try:
            asyncio.run(self._run(host, port, pace))
        except OSError as error:
            raise CommandError(
                _("Cannot listen on %(host)s port %(port)s: %(reason)s. Choose another with --port.")
                % {"host": host, "port": port, "reason": error.strerror or error}
            ) from None

    async def _run(self, host: str, port: int, pace: int) -> None:
        """Serve until SIGINT or SIGTERM."""
        leave = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        async with await Simulator(pace=pace).start(host, port) as simulator:
            self.stdout.write(
                _("The simulator listens on %(url)s (any secret will do). Try:") % {"url": simulator.url}
            )
            self.stdout.write("\n" + _EXAMPLE.format(url=simulator.url))
            self.stdout.write(_("Model names choose the behaviour: see simulator/README.md. Ctrl-C ends."))
            self.stdout.flush()
            await leave.wait()
        self.stdout.write(_("The simulator has stopped."))
