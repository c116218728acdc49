"""Who keeps what the journal says of keys, endpoints and API keys."""

from __future__ import annotations

from consumers.models import ApiKeyState
from providers.models import EndpointState, KeyState
from usage.states import Apply, state_table


def appliers() -> dict[str, Apply]:
    """The tables of the `state` lines, by the name that these use."""
    return {
        "key": state_table(KeyState, stamp="updated_at"),
        "endpoint": state_table(EndpointState, stamp="updated_at"),
        "api_key": state_table(ApiKeyState, stamp="last_used_at"),
    }
