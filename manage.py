#!/usr/bin/env python3
"""Runs the project's commands: `manage.py help` lists them."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Runs the command named on the command line; a bad setting ends it with its sentence alone."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aether.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
