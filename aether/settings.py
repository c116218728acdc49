"""Everything that can be set, from the environment or from the file .env beside manage.py; .env.example
explains each variable. A bad value stops the boot with a sentence that names the variable and the remedy."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from aether import env, secretfiles, unfold
from aether.datadir import private_directory, private_file

BASE_DIR = Path(__file__).resolve().parent.parent
env.ENV.read_env(os.environ.get("AETHER_ENV_FILE") or BASE_DIR / ".env")

DEBUG = env.switch("DEBUG", False)

# Where things are

AETHER_DATA_DIR = private_directory(Path(env.text("AETHER_DATA_DIR", str(BASE_DIR / "data"))).resolve())
AETHER_PUBLIC_URL = env.url("AETHER_PUBLIC_URL", ("https", "http"))
AETHER_SIMULATOR = env.switch("AETHER_SIMULATOR", False)
AETHER_ADMIN_USERNAME = env.text("AETHER_ADMIN_USERNAME", "admin")
AETHER_ADMIN_PASSWORD = env.text("AETHER_ADMIN_PASSWORD")
AETHER_ADMIN_EMAIL = env.text("AETHER_ADMIN_EMAIL")

DATABASES = {"default": env.database("DATABASE_URL", AETHER_DATA_DIR / "aether.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    private_file(Path(DATABASES["default"]["NAME"]))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.url("REDIS_URL", ("redis", "rediss"))
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# Secrets: read here; made, or missed with a sentence, by aether.boot.ensure_secrets. A missing one has no
# setting at all, so that nothing is ever encrypted or digested with an empty one.

_files = secretfiles.SecretFiles(AETHER_DATA_DIR / "secrets")
if _secret := _files.find("SECRET_KEY"):
    SECRET_KEY = _secret
if _secret := _files.find("AETHER_KEY_PEPPER"):
    AETHER_KEY_PEPPER: bytes = secretfiles.parse_pepper(_secret)
if _secret := _files.find("AETHER_ENCRYPTION_KEYS"):
    AETHER_ENCRYPTION_KEYS: dict[str, bytes] = secretfiles.parse_ring(_secret)
SECRET_KEY_FALLBACKS = env.texts("SECRET_KEY_FALLBACKS")

# The relay's knobs: bytes, seconds and counts

RELAY_DOOR = env.choice("RELAY_DOOR", ("asgi", "django"))
RELAY_MAX_BODY_BYTES = env.whole("RELAY_MAX_BODY_BYTES", 32 * 1024 * 1024, least=1024)
RELAY_MAX_UPLOAD_BYTES = env.whole("RELAY_MAX_UPLOAD_BYTES", 100_000_000, least=1024)
RELAY_BODY_MEMORY = env.whole("RELAY_BODY_MEMORY", 512_000_000, least=1024)
RELAY_CONNECT_TIMEOUT = env.seconds("RELAY_CONNECT_TIMEOUT", 5)
RELAY_FIRST_BYTE_TIMEOUT = env.seconds("RELAY_FIRST_BYTE_TIMEOUT", 60)
RELAY_WHOLE_FIRST_BYTE_TIMEOUT = env.seconds("RELAY_WHOLE_FIRST_BYTE_TIMEOUT", 600)
RELAY_FIRST_EVENT_TIMEOUT = env.seconds("RELAY_FIRST_EVENT_TIMEOUT", 120)
RELAY_IDLE_TIMEOUT = env.seconds("RELAY_IDLE_TIMEOUT", 120)
RELAY_PING_TIMEOUT = env.seconds("RELAY_PING_TIMEOUT", 600)
RELAY_STREAM_TOTAL_TIMEOUT = env.seconds("RELAY_STREAM_TOTAL_TIMEOUT", 3600)
RELAY_WHOLE_TOTAL_TIMEOUT = env.seconds("RELAY_WHOLE_TOTAL_TIMEOUT", 900)
RELAY_CLIENT_BODY_TIMEOUT = env.seconds("RELAY_CLIENT_BODY_TIMEOUT", 60)
RELAY_CLIENT_STALL_TIMEOUT = env.seconds("RELAY_CLIENT_STALL_TIMEOUT", 60)
RELAY_KEEP_ALIVE = env.seconds("RELAY_KEEP_ALIVE", 15)
RELAY_HEADER_TIMEOUT = env.seconds("RELAY_HEADER_TIMEOUT", 10)
RELAY_BODY_RATE = env.whole("RELAY_BODY_RATE", 1024, least=1)
RELAY_IDLE_CONNECTION = env.seconds("RELAY_IDLE_CONNECTION", 75)
RELAY_MAX_HEADERS = env.whole("RELAY_MAX_HEADERS", 100, least=10)
RELAY_MAX_HEADER_BYTES = env.whole("RELAY_MAX_HEADER_BYTES", 64 * 1024, least=1024)
RELAY_ADDRESS_CONNECTIONS = env.whole("RELAY_ADDRESS_CONNECTIONS", 4096)
RELAY_BAD_KEYS = env.whole("RELAY_BAD_KEYS", 20)
RELAY_MAX_LAG = env.seconds("RELAY_MAX_LAG", 0.1)
RELAY_MAX_IN_FLIGHT = env.whole("RELAY_MAX_IN_FLIGHT", 10_000, least=1)
RELAY_KEY_IN_FLIGHT = env.whole("RELAY_KEY_IN_FLIGHT", 0)
RELAY_MEMORY_CLOSE = env.percent("RELAY_MEMORY_CLOSE", 92)
RELAY_MEMORY_REFUSE = env.percent("RELAY_MEMORY_REFUSE", 95)
RELAY_MAX_BACKLOG_BYTES = env.whole("RELAY_MAX_BACKLOG_BYTES", 300_000_000, least=1024)
RELAY_BLOCKED_SECONDS = env.seconds("RELAY_BLOCKED_SECONDS", 0.25)
RELAY_PAGES_IN_FLIGHT = env.whole("RELAY_PAGES_IN_FLIGHT", 64, least=1)
RELAY_SHUTDOWN_DELAY = env.seconds("RELAY_SHUTDOWN_DELAY", 5, none=True)
RELAY_DRAIN_SECONDS = env.seconds("RELAY_DRAIN_SECONDS", 120)
RELAY_RECYCLE_REQUESTS = env.whole("RELAY_RECYCLE_REQUESTS", 0)
RELAY_RECYCLE_MEMORY_BYTES = env.whole("RELAY_RECYCLE_MEMORY_BYTES", 0)
RELAY_JOURNAL_SYNC = env.choice("RELAY_JOURNAL_SYNC", ("grouped", "always"))
RELAY_SEGMENT_BYTES = env.whole("RELAY_SEGMENT_BYTES", 64 * 1024 * 1024, least=4096)
RELAY_JOURNAL_KEEP_SECONDS = env.seconds("RELAY_JOURNAL_KEEP_SECONDS", 600)
RELAY_UNPRICED = env.choice("RELAY_UNPRICED", ("serve", "refuse"))
RELAY_ROUTING_MODE = env.choice(
    "RELAY_ROUTING_MODE", ("provider_first", "key_first", "weighted", "cheapest", "fastest")
)
RELAY_RECORD_CAP_BYTES = env.whole("RELAY_RECORD_CAP_BYTES", 1024 * 1024)
RELAY_BODY_QUEUE_BYTES = env.whole("RELAY_BODY_QUEUE_BYTES", 64_000_000)
RELAY_CALLER_CACHE = env.whole("RELAY_CALLER_CACHE", 50_000, least=1)
RELAY_MAX_EVENT_BYTES = env.whole("RELAY_MAX_EVENT_BYTES", 32_000_000, least=1024)
RELAY_MAX_ANSWER_BYTES = env.whole("RELAY_MAX_ANSWER_BYTES", 64_000_000, least=1024)
RELAY_TRUSTED_PROXIES = env.whole("RELAY_TRUSTED_PROXIES", 0)
RELAY_MAX_ATTEMPTS = env.whole("RELAY_MAX_ATTEMPTS", 3, least=1)
RELAY_MAX_ATTEMPTS_PER_ENDPOINT = env.whole("RELAY_MAX_ATTEMPTS_PER_ENDPOINT", 2, least=1)
RELAY_MAX_TRIES = env.whole("RELAY_MAX_TRIES", 8, least=1)
RELAY_RETRY_PERCENT = env.whole("RELAY_RETRY_PERCENT", 20)
RELAY_RETRY_LEAST = env.whole("RELAY_RETRY_LEAST", 3)
RELAY_RETRY_TOKENS = env.whole("RELAY_RETRY_TOKENS", 500)
RELAY_DRAIN_UPSTREAM_SECONDS = env.seconds("RELAY_DRAIN_UPSTREAM_SECONDS", 30)
RELAY_DRAIN_UPSTREAM_MOST = env.whole("RELAY_DRAIN_UPSTREAM_MOST", 50)
RELAY_QUEUE_TIMEOUT = env.seconds("RELAY_QUEUE_TIMEOUT", 2)
RELAY_FETCH_MEDIA = env.switch("RELAY_FETCH_MEDIA", False)
RELAY_KEEP_RESPONSES = env.seconds("RELAY_KEEP_RESPONSES", 0, none=True)
RELAY_MEDIA_BYTES = env.whole("RELAY_MEDIA_BYTES", 20_000_000, least=1024)
RELAY_REFUSED_PROBE_SECONDS = env.seconds("RELAY_REFUSED_PROBE_SECONDS", 600)

# Django

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",  # its own templates, for FORM_RENDERER
    "rest_framework",
    "csp",
    "changes",
    "usage",
    "providers",
    "consumers",
    "relay",
    "simulator",
    "aether",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "aether.middleware.StaticFiles",
    "aether.middleware.no_store",
    "aether.middleware.ContentSecurityPolicy",
    "aether.middleware.Sessions",
    "django.middleware.locale.LocaleMiddleware",
    "aether.middleware.Common",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "aether.middleware.reader_zone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "aether.urls"
ASGI_APPLICATION = "aether.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

AUTH_USER_MODEL = "consumers.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]

UNFOLD = unfold.UNFOLD

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: no step of collecting before the first start
WHITENOISE_ALLOW_ALL_ORIGINS = False

REST_FRAMEWORK = {
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}

# Safety

_public = urlsplit(AETHER_PUBLIC_URL)
_https = _public.scheme == "https"
_hosts = ["localhost", "127.0.0.1", "[::1]", _public.hostname]
ALLOWED_HOSTS = env.texts("ALLOWED_HOSTS", [host for host in _hosts if host])
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if _https else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600  # of idleness
SESSION_SAVE_EVERY_REQUEST = True
SECURE_SSL_REDIRECT = _https
# Programs, and probes inside the network, are not redirected.
SECURE_REDIRECT_EXEMPT = [r"^v1/", r"^v1beta/", r"^healthz$", r"^readyz$"]
# We speak no TLS: where the public address is https, a proxy ends it and tells the scheme.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
# The browsers' preload list is for the owner of a domain to join, not for us.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DEFAULT_EXCEPTION_REPORTER_FILTER = "aether.redaction.ReporterFilter"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "aether.redaction.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Django's own handlers would write past the redaction.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        "httpx": {"level": "WARNING"},  # it tells every request, with its address
        "uvicorn": {"level": "WARNING"},
    },
}
