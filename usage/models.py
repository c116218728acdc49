"""The ledger's tables: one record a request, one row an attempt, and the sums of both.

References upward are by name only, without constraint and without index of their own: ids outlive what they
name.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from usage.measures import Measures
from usage.money import MoneyField


class Kind(models.TextChoices):
    GENERATE = "generate", _("generate")
    COUNT_TOKENS = "count_tokens", _("count tokens")
    EMBED = "embed", _("embed")
    RERANK = "rerank", _("rerank")
    COMPLETE = "complete", _("complete")
    MODERATE = "moderate", _("moderate")
    IMAGE = "image", _("image")
    SPEECH = "speech", _("speech")
    TRANSCRIBE = "transcribe", _("transcribe")
    STORED = "stored", _("stored response")


class Outcome(models.TextChoices):
    OK = "ok", _("ok")
    PARTIAL = "partial", _("partial")
    UPSTREAM_ERROR = "upstream_error", _("upstream error")
    REJECTED = "rejected", _("rejected")
    CLIENT_GONE = "client_gone", _("client gone")
    INTERRUPTED = "interrupted", _("interrupted")


class UsageSource(models.TextChoices):
    NONE = "none", _("none")
    REPORTED = "reported", _("reported")
    ESTIMATED = "estimated", _("estimated")


def reference(to: str, label: Any, **options: Any) -> Any:
    """A foreign key that outlives its row: no constraint, no cascade, no index."""
    return models.ForeignKey(
        to, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, blank=True, related_name="+",
        verbose_name=label, **options,
    )  # fmt: skip


class PriceSnapshot(models.Model):
    """The unit prices that a request was billed at, per million tokens; shared, found by hash, never
    changed."""

    hash = models.CharField(_("hash"), max_length=64, unique=True)
    source = models.CharField(_("source"), max_length=200, help_text=_("Where the price came from."))
    version = models.CharField(_("version"), max_length=64, blank=True)
    tier = models.CharField(
        _("tier"), max_length=40, blank=True, help_text=_("The tier that the input fell into.")
    )
    input = MoneyField(_("input"))
    output = MoneyField(_("output"))
    cache_read = MoneyField(_("cache read"))
    cache_write_5m = MoneyField(_("cache write, 5 minutes"))
    cache_write_1h = MoneyField(_("cache write, 1 hour"))
    reasoning = MoneyField(_("reasoning"), null=True, blank=True)
    request = MoneyField(_("per request"), default=0)
    tier_factor = MoneyField(_("service tier factor"), default=1)
    fees = models.JSONField(_("fees"), default=dict, blank=True)
    defaulted = models.JSONField(_("defaulted prices"), default=list, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("price snapshot")
        verbose_name_plural = _("price snapshots")

    def __str__(self) -> str:
        return f"{self.source} {self.tier}".strip()


class UserAgent(models.Model):
    """A client program's name for itself, shared by the records that carry it."""

    text = models.CharField(_("user agent"), max_length=300, unique=True)

    class Meta:
        verbose_name = _("user agent")
        verbose_name_plural = _("user agents")

    def __str__(self) -> str:
        return self.text


class Tokens(models.Model):
    """Token counts of a record or an attempt, inclusive: input contains cache reads and writes, output
    reasoning."""

    input_tokens = models.IntegerField(_("input tokens"), default=0)
    output_tokens = models.IntegerField(_("output tokens"), default=0)
    cached_tokens = models.IntegerField(_("cache read tokens"), default=0)
    cache_creation_tokens = models.IntegerField(_("cache write tokens"), default=0)
    cache_creation_1h_tokens = models.IntegerField(
        _("cache write tokens, 1 hour"),
        default=0,
        help_text=_("The part of the cache writes kept for an hour."),
    )
    reasoning_tokens = models.IntegerField(_("reasoning tokens"), default=0)

    class Meta:
        abstract = True


class Record(Tokens):
    """One settled request. The primary key, a UUIDv7, holds the start instant to the millisecond."""

    request_id = models.UUIDField(_("request id"), primary_key=True, editable=False)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.GENERATE)
    started_at = models.DateTimeField(_("started at"))

    consumer = reference("consumers.Consumer", _("consumer"))
    consumer_name = models.CharField(_("consumer name"), max_length=120, blank=True)
    api_key = reference("consumers.ApiKey", _("API key"))
    api_key_name = models.CharField(_("API key name"), max_length=120, blank=True)
    provider = reference("providers.Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=120, blank=True)
    endpoint = reference("providers.Endpoint", _("endpoint"))
    key = reference("providers.Key", _("key"))
    key_name = models.CharField(_("key name"), max_length=120, blank=True)
    model = reference("providers.Model", _("model"))
    model_name = models.CharField(_("model name"), max_length=200, blank=True)
    upstream_model = models.CharField(_("upstream model"), max_length=200, blank=True)

    client_format = models.CharField(_("client format"), max_length=20)
    upstream_format = models.CharField(_("upstream format"), max_length=20, blank=True)
    is_stream = models.BooleanField(_("streamed"), default=False)

    usage_source = models.CharField(
        _("usage source"), max_length=10, choices=UsageSource.choices, default=UsageSource.NONE
    )
    tool_uses = models.JSONField(_("server tool uses"), null=True, blank=True)
    service_tier = models.CharField(_("service tier"), max_length=20, blank=True)
    list_cost = MoneyField(
        _("list cost"), null=True, blank=True, help_text=_("Empty where no price is known.")
    )
    own_cost = MoneyField(
        _("own cost"), default=0, help_text=_("What the providers charge us: all attempts.")
    )
    saved_cost = MoneyField(_("saved by cache"), default=0)
    price = reference("usage.PriceSnapshot", _("price"))

    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices)
    status_code = models.SmallIntegerField(
        _("status"), default=0, help_text=_("As sent to the client; 0 if nothing was.")
    )
    error_code = models.CharField(_("error code"), max_length=40, blank=True)
    error_text = models.TextField(_("error"), blank=True)
    finish_reason = models.CharField(_("finish reason"), max_length=40, blank=True)

    first_byte_ms = models.IntegerField(_("ms to first byte"), null=True, blank=True)
    first_token_ms = models.IntegerField(_("ms to first token"), null=True, blank=True)
    total_ms = models.IntegerField(_("ms in all"), default=0)
    overhead_us = models.IntegerField(
        _("own overhead, microseconds"),
        null=True,
        blank=True,
        help_text=_("Time before the first attempt was sent."),
    )
    attempt_count = models.SmallIntegerField(_("attempts"), default=0)
    conversion = models.CharField(_("conversion"), max_length=200, blank=True)
    config_revision = models.BigIntegerField(_("configuration revision"), default=0)
    explanation = models.JSONField(_("explanation"), null=True, blank=True)
    replay_of = models.UUIDField(_("replay of"), null=True, blank=True)
    client_request_id = models.CharField(_("client's request id"), max_length=120, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    user_agent = reference("usage.UserAgent", _("user agent"))

    estimated = models.BooleanField(_("estimated"), default=False)
    suspect = models.BooleanField(_("suspect"), default=False)
    truncated = models.BooleanField(_("truncated"), default=False)
    lossy = models.BooleanField(_("lossy"), default=False)
    unpriced = models.BooleanField(_("unpriced"), default=False)
    body_lost = models.BooleanField(_("body lost"), default=False)
    amendments = models.SmallIntegerField(
        _("amendments"), default=0, help_text=_("Usage that came after the end.")
    )

    class Meta:
        verbose_name = _("usage record")
        verbose_name_plural = _("usage records")
        ordering = ("-request_id",)
        indexes = (
            models.Index(fields=("consumer", "request_id"), name="record_consumer"),
            models.Index(fields=("api_key", "request_id"), name="record_api_key"),
            models.Index(fields=("provider", "request_id"), name="record_provider"),
            models.Index(fields=("model", "request_id"), name="record_model"),
            models.Index(fields=("request_id",), name="record_failed", condition=~models.Q(outcome="ok")),
        )

    def __str__(self) -> str:
        return str(self.request_id)


class Attempt(Tokens):
    """One try at one target. Its id is the record's with the attempt's number in the low byte."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    record = models.ForeignKey(
        Record, models.DO_NOTHING, db_constraint=False, related_name="attempts", verbose_name=_("record")
    )
    number = models.SmallIntegerField(_("number"))
    started_at = models.DateTimeField(_("started at"))
    provider = reference("providers.Provider", _("provider"))
    provider_name = models.CharField(_("provider name"), max_length=120, blank=True)
    endpoint = reference("providers.Endpoint", _("endpoint"))
    key = reference("providers.Key", _("key"))
    key_name = models.CharField(_("key name"), max_length=120, blank=True)
    model = reference("providers.Model", _("model"))
    upstream_model = models.CharField(_("upstream model"), max_length=200, blank=True)
    upstream_format = models.CharField(_("upstream format"), max_length=20, blank=True)
    phase = models.CharField(_("phase"), max_length=16, blank=True, help_text=_("How far the attempt came."))
    verdict = models.CharField(_("verdict"), max_length=24)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    status_code = models.SmallIntegerField(_("upstream's status"), default=0)
    error_type = models.CharField(_("error type and code"), max_length=200, blank=True)
    error_text = models.TextField(_("error"), blank=True)
    rule = reference("providers.FailureRule", _("failure rule"))
    decided_by = models.CharField(
        _("decided by"),
        max_length=120,
        blank=True,
        help_text=_("The failure rule's name at the time, or the built-in line's."),
    )
    upstream_request_id = models.CharField(_("upstream's request id"), max_length=120, blank=True)
    first_byte_ms = models.IntegerField(_("ms to first byte"), null=True, blank=True)
    first_token_ms = models.IntegerField(_("ms to first token"), null=True, blank=True)
    total_ms = models.IntegerField(_("ms in all"), default=0)
    bytes_sent = models.BigIntegerField(_("bytes sent"), default=0)
    bytes_received = models.BigIntegerField(_("bytes received"), default=0)
    list_cost = MoneyField(_("list cost"), null=True, blank=True)
    own_cost = MoneyField(_("own cost"), default=0)
    cost_multiplier = MoneyField(_("cost multiplier"), default=1)
    maybe_billed = models.BooleanField(
        _("maybe billed"), default=False, help_text=_("The request was sent, but no usage came back.")
    )

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.record_id} #{self.number}"


class Body(models.Model):
    """Headers and bodies of a request whose API key asks for them; compressed, capped, with a time to
    live."""

    request_id = models.UUIDField(_("request id"), primary_key=True, editable=False)
    client_request_headers = models.JSONField(_("client's request headers"), null=True, blank=True)
    upstream_request_headers = models.JSONField(_("upstream request headers"), null=True, blank=True)
    upstream_response_headers = models.JSONField(_("upstream's response headers"), null=True, blank=True)
    client_response_headers = models.JSONField(_("response headers sent"), null=True, blank=True)
    request_body = models.BinaryField(_("request body"), null=True, blank=True)
    upstream_request_body = models.BinaryField(_("body sent upstream"), null=True, blank=True)
    response_body = models.BinaryField(_("response body"), null=True, blank=True)
    truncated = models.BooleanField(_("truncated"), default=False)
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("stored body")
        verbose_name_plural = _("stored bodies")

    def __str__(self) -> str:
        return str(self.request_id)


class Rollup(Measures):
    """Sums of records by quarter of an hour (UTC) and dimension; 0 stands for no id, "" for no text."""

    quarter = models.DateTimeField(_("quarter of an hour"))
    consumer_id = models.BigIntegerField(_("consumer"), default=0)
    model_id = models.BigIntegerField(_("model"), default=0)
    provider_id = models.BigIntegerField(_("provider"), default=0)
    key_id = models.BigIntegerField(_("key"), default=0)
    client_format = models.CharField(_("client format"), max_length=20, default="")
    upstream_format = models.CharField(_("upstream format"), max_length=20, default="")
    outcome = models.CharField(_("outcome"), max_length=16)

    DIMENSIONS = (
        "quarter", "consumer_id", "model_id", "provider_id", "key_id", "client_format", "upstream_format",
        "outcome",
    )  # fmt: skip

    class Meta:
        verbose_name = _("rollup")
        verbose_name_plural = _("rollups")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "quarter", "consumer_id", "model_id", "provider_id", "key_id", "client_format",
                    "upstream_format", "outcome",
                ),
                name="rollup_dimensions",
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.quarter:%Y-%m-%d %H:%M}"


class ApiKeyRollup(Measures):
    """Sums of records by quarter of an hour, API key and model."""

    quarter = models.DateTimeField(_("quarter of an hour"))
    api_key_id = models.BigIntegerField(_("API key"), default=0)
    model_id = models.BigIntegerField(_("model"), default=0)

    DIMENSIONS = ("quarter", "api_key_id", "model_id")

    class Meta:
        verbose_name = _("rollup by API key")
        verbose_name_plural = _("rollups by API key")
        constraints = (
            models.UniqueConstraint(
                fields=("quarter", "api_key_id", "model_id"), name="api_key_rollup_dimensions"
            ),
        )

    def __str__(self) -> str:
        return f"{self.quarter:%Y-%m-%d %H:%M}"


class AttemptRollup(Measures):
    """Sums of attempts by quarter of an hour, target and verdict: what providers charge us for."""

    quarter = models.DateTimeField(_("quarter of an hour"))
    provider_id = models.BigIntegerField(_("provider"), default=0)
    endpoint_id = models.BigIntegerField(_("endpoint"), default=0)
    key_id = models.BigIntegerField(_("key"), default=0)
    model_id = models.BigIntegerField(_("model"), default=0)
    verdict = models.CharField(_("verdict"), max_length=24)

    DIMENSIONS = ("quarter", "provider_id", "endpoint_id", "key_id", "model_id", "verdict")

    class Meta:
        verbose_name = _("rollup of attempts")
        verbose_name_plural = _("rollups of attempts")
        constraints = (
            models.UniqueConstraint(
                fields=("quarter", "provider_id", "endpoint_id", "key_id", "model_id", "verdict"),
                name="attempt_rollup_dimensions",
            ),
        )

    def __str__(self) -> str:
        return f"{self.quarter:%Y-%m-%d %H:%M}"


class HealthBucket(models.Model):
    """What attempts came to at one place in a short span: `begins` is Unix seconds, `seconds` how long it is.
    Each attempt is in one bucket of each length, by the instant its request began. Failures are counted by
    class, as `usage.vitals` names them; `aside` is what was not the vendor's fault."""

    seconds = models.SmallIntegerField()
    begins = models.BigIntegerField()
    provider_id = models.BigIntegerField(default=0)
    endpoint_id = models.BigIntegerField(default=0)
    key_id = models.BigIntegerField(default=0)
    format = models.CharField(max_length=20, default="")
    attempts = models.BigIntegerField(default=0)
    succeeded = models.BigIntegerField(default=0)
    gateway = models.BigIntegerField(default=0)
    timeout = models.BigIntegerField(default=0)
    throttled = models.BigIntegerField(default=0)
    overloaded = models.BigIntegerField(default=0)
    auth = models.BigIntegerField(default=0)
    money = models.BigIntegerField(default=0)
    unsupported = models.BigIntegerField(default=0)
    other = models.BigIntegerField(default=0)
    aside = models.BigIntegerField(default=0)
    first_token_count = models.BigIntegerField(default=0)
    first_token_ms = models.BigIntegerField(default=0)

    DIMENSIONS = ("seconds", "begins", "provider_id", "endpoint_id", "key_id", "format")

    class Meta:
        verbose_name = _("health of a moment")
        verbose_name_plural = _("health of moments")
        constraints = (
            models.UniqueConstraint(
                fields=("seconds", "begins", "provider_id", "endpoint_id", "key_id", "format"),
                name="health_bucket_dimensions",
            ),
        )
        indexes = (
            models.Index(fields=("endpoint_id", "seconds", "begins"), name="health_bucket_endpoint"),
            models.Index(fields=("key_id", "seconds", "begins"), name="health_bucket_key"),
        )

    def __str__(self) -> str:
        return f"{self.begins}+{self.seconds}"


class StoredResponse(models.Model):
    """A Responses object that an upstream keeps: whose it is, and which key can reach it."""

    response_id = models.CharField(_("response id"), max_length=200, primary_key=True)
    consumer = reference("consumers.Consumer", _("consumer"))
    api_key = reference("consumers.ApiKey", _("API key"))
    endpoint = reference("providers.Endpoint", _("endpoint"))
    key = reference("providers.Key", _("key"))
    model = reference("providers.Model", _("model"))
    upstream_model = models.CharField(_("upstream model"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("stored response")
        verbose_name_plural = _("stored responses")

    def __str__(self) -> str:
        return self.response_id


class DeadLetter(models.Model):
    """A journal line that the database refused, parked with the reason; the rest of its batch went on."""

    segment = models.CharField(_("journal segment"), max_length=200)
    position = models.BigIntegerField(_("position"))
    kind = models.CharField(_("kind"), max_length=20)
    line = models.TextField(_("line"))
    reason = models.TextField(_("reason"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        constraints = (models.UniqueConstraint(fields=("segment", "position"), name="dead_letter_line"),)

    def __str__(self) -> str:
        return f"{self.segment}:{self.position}"


class JournalPosition(models.Model):
    """How far the recorder has brought a journal segment to the database; moves with the rows themselves."""

    segment = models.CharField(_("journal segment"), max_length=200, primary_key=True)
    position = models.BigIntegerField(_("position"), default=0)
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("journal position")
        verbose_name_plural = _("journal positions")

    def __str__(self) -> str:
        return f"{self.segment}:{self.position}"
