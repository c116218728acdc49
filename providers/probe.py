"""Asks an endpoint what an operator wants to know before traffic does: does it answer, and which models has
it?

Blocking, for admin actions and commands. What comes back is told in our own words: no text of the vendor's,
no secret, no address but the operator's own base URL.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from providers import dialer
from providers.catalog import problem_of
from providers.models import MODEL_NAME, Endpoint, Key
from providers.secrets import Unsealable
from wire import FORMATS, azure
from wire.urls import MODELS_PATH, join

SECONDS = 15.0
"""For one probe in all, pages and slow answers included."""
MOST_BYTES = 8_000_000
MOST_PAGES = 10
MOST_MODELS = 5_000
_QUERY: Mapping[str, str] = {"anthropic": "limit=1000", "gemini": "pageSize=1000"}
"""What asks for a long page of the list of models."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How an endpoint answered. `sentence` is for people, in the language that is active."""

    ok: bool
    milliseconds: int
    sentence: str


class ProbeError(Exception):
    """The endpoint gave no list of models. The message is a sentence for people."""


def test_endpoint(endpoint: Endpoint) -> ProbeResult:
    """Asks for the list of models with the first live key of the provider, and says how that went. Never
    raises for what the endpoint does."""
    began = time.monotonic()
    try:
        models = fetch_models(endpoint)
    except ProbeError as error:
        ok, sentence = False, str(error)
    else:
        ok = True
        sentence = _("%(endpoint)s answers and lists %(count)s models.") % {
            "endpoint": endpoint,
            "count": len(models),
        }
    return ProbeResult(ok, round((time.monotonic() - began) * 1000), sentence)


def fetch_models(endpoint: Endpoint, key: Key | None = None) -> list[str]:
    """The names of the models that the endpoint lists, sorted; names that no request could carry are left
    out. Raises ProbeError."""
    if problem := problem_of(endpoint):
        raise ProbeError(
            _("%(endpoint)s is not called: %(problem)s.") % {"endpoint": endpoint, "problem": problem}
        )
    headers = headers_of(endpoint, key or live_key(endpoint))
    deadline = time.monotonic() + SECONDS
    try:
        with dialer.client(
            allow_private=endpoint.allow_private, proxy=endpoint.proxy, timeout=SECONDS
        ) as client:
            names = {name for page in _pages(client, endpoint, headers, deadline) for name in _names(page)}
    except dialer.Forbidden:
        raise ProbeError(
            _(
                "%(endpoint)s is not called: it leads to a private or reserved address. Correct the URL, "
                "or let a superuser allow private addresses for this endpoint."
            )
            % {"endpoint": endpoint}
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise ProbeError(words_of(error, endpoint)) from None
    return sorted(names)[:MOST_MODELS]


def live_key(endpoint: Endpoint) -> Key:
    """The first of the provider's keys that is used at this endpoint. Raises ProbeError."""
    for key in endpoint.provider.keys.filter(is_active=True).order_by("priority", "pk"):
        if not key.formats or endpoint.format in key.formats:
            return key
    raise ProbeError(
        _("%(provider)s has no live key for this format: add one first.") % {"provider": endpoint.provider}
    )


def headers_of(endpoint: Endpoint, key: Key) -> dict[str, str]:
    """What goes with every request of ours, the credential among it. Raises ProbeError."""
    try:
        secret = key.secret()
    except Unsealable:
        raise ProbeError(
            _("The secret of %(key)s cannot be opened: enter it again.") % {"key": key}
        ) from None
    told = azure.credentials if azure.QUIRK in endpoint.quirks else FORMATS[endpoint.format].credentials
    return {
        "user-agent": "aether",
        "accept": "application/json",
        "accept-encoding": "identity",
        **({"anthropic-version": "2023-06-01"} if endpoint.format == "anthropic" else {}),
        **{name.lower(): value for name, value in endpoint.headers.items()},
        **told(secret, endpoint.credential_style),
    }


def _pages(
    client: httpx.Client, endpoint: Endpoint, headers: dict[str, str], deadline: float
) -> Iterator[Mapping[str, Any]]:
    path, query = MODELS_PATH[endpoint.format], _QUERY.get(endpoint.format, "")
    following = ""
    for _page in range(MOST_PAGES):
        if azure.QUIRK in endpoint.quirks:
            url = azure.models_url(endpoint.base_url)
        else:
            url = join(endpoint.base_url, path, "&".join(filter(None, (query, following))))
        page = _get(client, endpoint, url, headers, deadline)
        yield page
        following = _next(page)
        if not following:
            return


def _next(page: Mapping[str, Any]) -> str:
    """The part of the query that asks for the page after this one; empty where there is none."""
    token, last = page.get("nextPageToken"), page.get("last_id")
    if isinstance(token, str) and token:
        return f"pageToken={quote(token, safe='')}"
    if page.get("has_more") is True and isinstance(last, str) and last:
        return f"after_id={quote(last, safe='')}"
    return ""


def _get(
    client: httpx.Client, endpoint: Endpoint, url: str, headers: dict[str, str], deadline: float
) -> Mapping[str, Any]:
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code != 200:
            raise ProbeError(_refusal(response.status_code, endpoint))
        body = bytearray()
        for chunk in response.iter_raw():  # raw: nothing is unfolded, so nothing can explode
            body += chunk
            if len(body) > MOST_BYTES or time.monotonic() > deadline:
                raise ProbeError(
                    _("%(endpoint)s did not come to an end with its list.") % {"endpoint": endpoint}
                )
    try:
        page = orjson.loads(body)
    except orjson.JSONDecodeError:
        page = None
    if isinstance(page, list):
        return {"data": page}
    if not isinstance(page, dict):
        raise ProbeError(
            _("%(endpoint)s answers, but not with JSON: check the base URL.") % {"endpoint": endpoint}
        )
    return page


def _names(page: Mapping[str, Any]) -> Iterator[str]:
    listed = page.get("data", page.get("models"))
    for each in listed if isinstance(listed, list) else ():
        name = (each.get("id") or each.get("name")) if isinstance(each, dict) else each
        if isinstance(name, str):
            try:
                MODEL_NAME(name := name.removeprefix("models/"))
            except ValidationError:
                continue
            yield name


def _refusal(status: int, endpoint: Endpoint) -> str:
    told = {"endpoint": endpoint, "status": status}
    if status in (401, 403):
        return _("%(endpoint)s refuses the key (status %(status)s): check the secret and its rights.") % told
    if status == 402:
        return _("%(endpoint)s wants money (status 402): top up the account of this key.") % told
    if status in (404, 405):
        return _("%(endpoint)s answers, but has no list of models there (status %(status)s).") % told
    if status == 429:
        return _("%(endpoint)s answers, but is throttling this key (status 429): try again later.") % told
    if 300 <= status < 400:
        return _("%(endpoint)s sends us elsewhere (status %(status)s): correct the base URL.") % told
    return _("%(endpoint)s answers with status %(status)s.") % told


def words_of(error: Exception, endpoint: Endpoint) -> str:
    """What a failed connection means, for people."""
    told = {"endpoint": endpoint, "host": urlsplit(endpoint.base_url).hostname}
    if isinstance(error, httpx.TimeoutException):
        return _("%(endpoint)s did not answer in time.") % told
    if isinstance(error, httpx.ProxyError):
        return _("The proxy of %(endpoint)s refuses the way.") % told
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _("The certificate of %(host)s is not valid for it.") % told
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return _("%(host)s cannot be reached: check the base URL, and that the service runs.") % told
    return _("The connection to %(endpoint)s broke.") % told
