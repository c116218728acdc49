"""Networks that may call, as an operator writes them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


def check_networks(networks: Any) -> None:
    """Raises ValidationError unless `networks` is a list of networks such as 10.0.0.0/8 or 2001:db8::/32."""
    if not isinstance(networks, list):
        raise ValidationError(_("Give a list of networks."))
    for each in networks:
        try:
            ip_network(each)
        except (ValueError, TypeError) as error:
            raise ValidationError(
                _("“%(network)s” is no network: write it like 10.0.0.0/8."), params={"network": each}
            ) from error
