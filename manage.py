#!/usr/bin/env python3
"""Runs the project's commands: `manage.py help` lists them."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Runs the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aether.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
