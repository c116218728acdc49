"""What can go wrong with a request.

RelayError         told to the client, in its own format
├── Refused        by us, or the caller's own fault: outcome `rejected`
├── Exhausted      every target failed: outcome `upstream_error`
└── Interrupted    by our shutdown, or a revoked API key: outcome `interrupted`; as the client does not read:
                   `client_gone`
UpstreamFailure    one attempt failed; `failover.judge` decides what follows
Unreadable         the client never finished its body: no answer can be owed, no record is left
"""

from __future__ import annotations

import random

from usage.refusal import Rule
from wire.types import Fault, InbandError

SOON = 5.0
"""Most seconds that a client is told to wait for what passes by itself in a moment."""


def some_of(seconds: float) -> int:
    """Whole seconds for a client to wait, 1 to so many: full jitter, or all who are refused together would
    come back together (resilience.md, "Retries")."""
    return random.randint(1, max(1, round(seconds)))


class RelayError(Exception):
    """An error with its public words. `retry_after` is whole seconds, or None. `body`, where not empty, is
    the vendor's own error object, scrubbed, to be sent in place of our envelope. `allow` are the methods that
    a path has, where another was tried. `rule` of ours refused it, by what was `measured` then, in the rule's
    own unit; None where the words say it all."""

    outcome = "rejected"

    def __init__(
        self, fault: Fault, *, retry_after: int | None = None, rule: Rule | None = None, measured: int = 0
    ) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.retry_after = retry_after
        self.rule = rule
        self.measured = measured
        self.body = b""
        self.allow: tuple[str, ...] = ()
        self.code = fault.code
        """The record's error code."""


class Refused(RelayError):
    """Refused by us, or the caller's fault as upstream told it."""


class Exhausted(RelayError):
    """No target gave an answer."""

    outcome = "upstream_error"


class Interrupted(RelayError):
    """Ended by us before its time. `reason` is `shutdown`, `revoked` or `stalled`."""

    outcome = "interrupted"

    def __init__(self, reason: str) -> None:
        super().__init__(Fault("interrupted", _ENDED.get(reason, "The request was ended.")))
        self.code = reason
        if reason == "stalled":
            self.outcome = "client_gone"


_ENDED = {
    "shutdown": "The server is going down; send the request again.",
    "revoked": "This API key was switched off.",
    "stalled": "The client stopped reading.",
}


class Unreadable(Exception):
    """The client's body ended early or took too long. `timed_out` tells which."""

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__("the request body never arrived")
        self.timed_out = timed_out


class UpstreamFailure(Exception):
    """One attempt failed.

    `reason` is a key of `failover.VERDICTS` where the transport failed, or empty where upstream answered with
    `status` and `error`. `phase` says how far it came: connect, send, headers, first_event, stream.
    `retry_after` is seconds as upstream gave them. `text` is for the operator's ledger, not yet scrubbed.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        phase: str,
        status: int = 0,
        error: InbandError | None = None,
        retry_after: float | None = None,
        text: str = "",
        body: bytes = b"",
        content_type: str = "",
    ) -> None:
        super().__init__(reason or f"status {status}")
        self.reason = reason
        self.phase = phase
        self.status = status
        self.error = error
        self.retry_after = retry_after
        self.text = text or (error.text if error else "")
        self.body = body
        self.content_type = content_type
