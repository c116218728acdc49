"""The engine's settings, read once when it opens."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from django.conf import settings

from relay.failover import Caps
from relay.retries import Rules
from relay.scheduler import Mode


@dataclass(frozen=True, slots=True)
class Knobs:
    """Seconds, bytes and counts; each is documented in .env.example under its RELAY_ name."""

    data_dir: Path
    max_body_bytes: int
    max_upload_bytes: int
    body_memory: int
    connect_timeout: float
    first_byte_timeout: float
    whole_first_byte_timeout: float
    first_event_timeout: float
    idle_timeout: float
    ping_timeout: float
    stream_total_timeout: float
    whole_total_timeout: float
    client_body_timeout: float
    client_stall_timeout: float
    keep_alive: float
    drain_seconds: float
    journal_sync: Literal["grouped", "always"]
    segment_bytes: int
    unpriced: str
    routing_mode: Mode
    record_cap_bytes: int
    body_queue_bytes: int
    caller_cache: int
    max_event_bytes: int
    max_answer_bytes: int
    trusted_proxies: int
    bad_keys: int
    max_lag: float
    max_in_flight: int
    key_in_flight: int
    memory_close: int
    memory_refuse: int
    max_backlog_bytes: int
    blocked_seconds: float
    max_attempts: int
    max_attempts_per_endpoint: int
    max_tries: int
    retry_percent: int
    retry_least: int
    retry_tokens: int
    drain_upstream_seconds: float
    drain_upstream_most: int
    queue_timeout: float
    refused_probe_seconds: float
    fetch_media: bool
    media_bytes: int
    keep_responses: float
    redis_url: str
    """Empty: there is none."""
    redis_prefix: str
    """Of all our names there: those who share API keys, and nobody else, share them."""

    @classmethod
    def from_settings(cls) -> Knobs:
        """The values in force. Django's settings are read here and nowhere else in the engine."""
        named = {
            name: getattr(settings, f"RELAY_{name.upper()}")
            for name in cls.__slots__
            if hasattr(settings, f"RELAY_{name.upper()}")
        }
        pepper = blake2b(settings.AETHER_KEY_PEPPER, digest_size=8, person=b"redis").hexdigest()
        return cls(
            data_dir=settings.AETHER_DATA_DIR,
            redis_url=settings.REDIS_URL,
            redis_prefix=f"aether:{pepper}:",
            **named,
        )

    @property
    def retry_rules(self) -> Rules:
        return Rules(self.retry_percent / 100, self.retry_least, self.retry_tokens)

    @property
    def caps(self) -> Caps:
        return Caps(self.max_attempts, self.max_attempts_per_endpoint, self.max_tries)
