"""Who keeps what the journal says of keys, endpoints and API keys."""

from __future__ import annotations

from consumers.models import ApiKeyState
from providers import states
from usage.states import Apply, state_table


def appliers() -> dict[str, Apply]:
    """The tables of the `state` lines, by the name that these use."""
    return {
        states.KEY: states.applier(states.KEY),
        states.ENDPOINT: states.applier(states.ENDPOINT),
        "api_key": state_table(ApiKeyState, stamp="last_used_at"),
    }
