"""What must hold before a command that touches secrets goes on: the database answers, its tables are up to
date, the server's secrets are there. Each failure is one sentence with its remedy."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from aether import secretfiles
from aether.redaction import redact
from consumers.models import ApiKey
from providers.models import Key

_PARSE: dict[str, Callable[[str], object]] = {
    secretfiles.SECRET_KEY: str,
    secretfiles.KEY_PEPPER: secretfiles.parse_pepper,
    secretfiles.ENCRYPTION_KEYS: secretfiles.parse_ring,
}


def ensure_database() -> None:
    """Raises CommandError unless the database answers."""
    probe = connection.copy()
    probe.settings_dict["OPTIONS"].pop("pool", None)  # a pool would try again and again, and not tell why
    try:
        probe.ensure_connection()
        probe.close()
    except (DatabaseError, InterfaceError) as error:
        reason = redact(" ".join(str(error).split()))[:300]
        raise CommandError(
            _("The database cannot be reached (%(reason)s): start it, or correct DATABASE_URL.")
            % {"reason": reason}
        ) from None


def ensure_migrated() -> None:
    """Raises CommandError while migrations are not applied."""
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        raise CommandError(
            _("The database's tables are not up to date (%(count)d migrations wait): run manage.py migrate.")
            % {"count": len(waiting)}
        )


def ensure_secrets() -> None:
    """Sees that every secret of the server is set, making those that are missing while the database holds
    nothing that they would have to fit: neither an upstream key nor an API key. Raises CommandError
    otherwise."""
    missing = [name for name in secretfiles.NAMES if not _present(name)]
    if not missing:
        return
    if database_holds_secrets():
        raise CommandError(
            _(
                "%(name)s is missing, and the database holds keys made with it: set it, or restore %(path)s"
                " from the backup. A new one would make them useless."
            )
            % {"name": missing[0], "path": _files().path(missing[0])}
        )
    for name in missing:
        try:
            setattr(settings, name, _PARSE[name](_files().create(name)))
        except (ImproperlyConfigured, OSError) as error:
            raise CommandError(
                _("%(name)s could not be made (%(reason)s): set it.") % {"name": name, "reason": error}
            ) from None


def database_holds_secrets() -> bool:
    """Whether there is an upstream key or an API key."""
    tables = set(connection.introspection.table_names())
    return any(model._meta.db_table in tables and model._default_manager.exists() for model in (Key, ApiKey))


def _present(name: str) -> bool:
    try:
        return bool(getattr(settings, name))
    except (AttributeError, ImproperlyConfigured):  # Django raises the latter for an empty SECRET_KEY
        return False


def _files() -> secretfiles.SecretFiles:
    return secretfiles.SecretFiles(settings.AETHER_DATA_DIR / "secrets")
