"""`manage.py reseal`: encrypts every upstream secret anew under the newest key of AETHER_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import ngettext

from aether.boot import ensure_database, ensure_secrets
from providers.models import Key
from providers.secrets import Unsealable, reseal


class Command(BaseCommand):
    help = (
        "Encrypts every upstream secret anew under the first key of AETHER_ENCRYPTION_KEYS, while the server"
        " runs. Put the new key first and restart; run this; then the old key may go."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_secrets()
        renewed, failed = 0, 0
        for key in Key.objects.select_related("provider").iterator():
            try:
                sealed = reseal(key.sealed, key.seal_id)
            except Unsealable as error:
                failed += 1
                self.stderr.write(f"{key}: {error}")
                continue
            if sealed != key.sealed:
                # Only over what was read: an administrator's new secret of this very moment wins.
                renewed += Key.objects.filter(pk=key.pk, sealed=key.sealed).update(sealed=sealed)
        self.stdout.write(
            ngettext("%(count)d secret encrypted anew.", "%(count)d secrets encrypted anew.", renewed)
            % {"count": renewed}
        )
        if failed:
            raise CommandError(
                ngettext(
                    "%(count)d secret could not be read: put back the key that sealed it, or enter it again.",
                    "%(count)d secrets could not be read: put back what sealed them, or enter them again.",
                    failed,
                )
                % {"count": failed}
            )
