"""Who pays what when a request is over, however it ended.

One call per attempt. `Charge.attempt_*` is the operator's ledger: what the provider did for us. The rest is
the consumer's: what the request is billed, from the one attempt that reached the client; 0 where none did.
"""

from __future__ import annotations

import math

import msgspec

from usage.pico import rounded
from usage.pricing import ONE, PICO_UNITS, Price
from wire.types import COUNT_TOKENS, GENERATE, STORED, Usage

NONE, REPORTED, ESTIMATED = "none", "reported", "estimated"
DEFAULT_BYTES_PER_TOKEN = 4.0
NOTHING = Usage()
LEFT_UNFINISHED = ("client_gone", "interrupted")
UNBILLED_KINDS = (COUNT_TOKENS, STORED)


class Charge(msgspec.Struct, frozen=True):
    """What one attempt costs, in whole pico-dollars, and the token counts that this was computed from.

    `usage` and `list_pico` are the record's, `attempt_usage`, `attempt_list_pico` and `own_pico` the
    attempt's. A list cost is None where something is to be paid for and no price is known. `usage_source`
    is `none`, `reported` or `estimated`.
    """

    usage: Usage
    list_pico: int | None
    saved_pico: int
    usage_source: str
    estimated: bool
    suspect: bool
    unpriced: bool
    attempt_usage: Usage
    attempt_list_pico: int | None
    own_pico: int


UNBILLED = Charge(
    usage=NOTHING,
    list_pico=0,
    saved_pico=0,
    usage_source=NONE,
    estimated=False,
    suspect=False,
    unpriced=False,
    attempt_usage=NOTHING,
    attempt_list_pico=0,
    own_pico=0,
)


def charge(
    price: Price | None,
    usage: Usage,
    *,
    kind: str = GENERATE,
    outcome: str = "ok",
    sent: bool = True,
    delivered: bool = True,
    committed: bool = True,
    ended: bool = True,
    text_bytes: int = 0,
    request_bytes: int = 0,
    bytes_per_token: float = DEFAULT_BYTES_PER_TOKEN,
    input_bytes_per_token: float = DEFAULT_BYTES_PER_TOKEN,
    input_limit: int | None = None,
    count: int = 1,
    cost_multiplier: int = ONE,
    free: bool = False,
) -> Charge:
    """The charge for one attempt at the end of it.

    `sent`: the whole request went to the provider. `delivered`: a meaningful frame reached us. `committed`:
    one was sent to the client. `ended`: the format's own end arrived. `outcome` is the record's. `text_bytes`
    is what was delivered to us, counted; `request_bytes` the size of the request, from which the input is
    estimated where nobody told it (at most `input_limit` tokens, the context window). `count` is `n`: how
    many times the price per request counts where an answer of another kind than generate tells no usage.
    `cost_multiplier` is in units of 1e-12. `free`: the provider's billing is free.
    """
    if kind in UNBILLED_KINDS:
        return msgspec.structs.replace(UNBILLED, suspect=usage.suspect)
    final, estimated, requests = usage, False, 1
    reported = usage.input_reported or usage.output_reported
    told = usage.input_reported and usage.output_reported and usage.final
    if kind == GENERATE:
        worked = delivered or ended
        abandoned = sent and outcome in LEFT_UNFINISHED
        if not told:
            final, estimated = _counted(
                usage,
                estimate_output=worked,
                estimate_input=worked or abandoned,
                counted_output=_tokens(text_bytes, bytes_per_token),
                counted_input=_tokens(request_bytes, input_bytes_per_token, input_limit),
            )
    elif reported:
        if not told:
            final, estimated = _counted(
                usage,
                estimate_output=usage.output_reported,
                estimate_input=False,
                counted_output=_tokens(text_bytes, bytes_per_token),
                counted_input=0,
            )
    elif delivered:
        estimated, requests = True, max(1, count)
    if usage.write_split_assumed and usage.cache_write_5m_tokens > 0:
        estimated = True
    list_pico, own_pico, saved_pico = _cost(price, final, delivered, requests, 0 if free else cost_multiplier)
    if not committed:
        return Charge(
            usage=msgspec.structs.replace(NOTHING, suspect=usage.suspect),
            list_pico=0,
            saved_pico=0,
            usage_source=NONE,
            estimated=False,
            suspect=usage.suspect,
            unpriced=False,
            attempt_usage=final,
            attempt_list_pico=list_pico,
            own_pico=own_pico,
        )
    guessed = final.input_tokens != usage.input_tokens or final.output_tokens != usage.output_tokens
    return Charge(
        usage=final,
        list_pico=list_pico,
        saved_pico=saved_pico,
        usage_source=ESTIMATED if guessed or (estimated and not reported) else REPORTED if reported else NONE,
        estimated=estimated,
        suspect=usage.suspect,
        unpriced=list_pico is None,
        attempt_usage=final,
        attempt_list_pico=list_pico,
        own_pico=own_pico,
    )


def _tokens(size: int, bytes_per_token: float, limit: int | None = None) -> int:
    tokens = math.ceil(max(0, size) / bytes_per_token) if bytes_per_token > 0 else 0
    return tokens if limit is None else min(tokens, limit)


def _counted(
    usage: Usage, *, estimate_output: bool, estimate_input: bool, counted_output: int, counted_input: int
) -> tuple[Usage, bool]:
    """The usage with what was not told filled in, and whether any of it is an estimate."""
    output_tokens, input_tokens, estimated = usage.output_tokens, usage.input_tokens, False
    if not (usage.final and usage.output_reported) and (estimate_output or usage.output_reported):
        output_tokens, estimated = max(output_tokens, counted_output), True
    if not usage.input_reported and estimate_input:
        cache = usage.cache_read_tokens + usage.cache_write_tokens
        input_tokens, estimated = max(input_tokens, counted_input, cache), True
    if (output_tokens, input_tokens) == (usage.output_tokens, usage.input_tokens):
        return usage, estimated
    return msgspec.structs.replace(usage, output_tokens=output_tokens, input_tokens=input_tokens), estimated


def _cost(
    price: Price | None, usage: Usage, delivered: bool, requests: int, multiplier: int
) -> tuple[int | None, int, int]:
    """What the usage costs at list, what it costs us and what its cache saved."""
    if price is None:
        owed = delivered or usage.input_tokens or usage.output_tokens or usage.tool_uses
        return None if owed else 0, 0, 0
    units = price.units(usage, delivered=delivered, requests=requests)
    list_pico = rounded(units, PICO_UNITS)
    # From the unrounded list cost: twice rounded is not once rounded.
    own_pico = list_pico if multiplier == ONE else rounded(units * multiplier, PICO_UNITS * ONE)
    saved = price.saved_units(usage) if usage.cache_read_tokens else 0
    return list_pico, own_pico, rounded(saved, PICO_UNITS) if saved else 0
