"""`manage.py export_config`: prints the tables as a configuration file."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from aether.configexport import as_yaml, export_config


class Command(BaseCommand):
    help = (
        "Prints providers, models, consumers and failure rules as a YAML file that import_config takes. "
        "Secrets are left out: imported again, every key keeps its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, which import_config takes too")

    def handle(self, *args: Any, **options: Any) -> None:
        config = export_config()
        text = json.dumps(config, ensure_ascii=False, indent=2) if options["json"] else as_yaml(config)
        self.stdout.write(text, ending="" if text.endswith("\n") else "\n")
