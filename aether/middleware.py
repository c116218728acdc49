"""What the project adds to Django's own middleware; outside of the admin each runs without a thread hop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asgiref.sync import markcoroutinefunction, sync_to_async
from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware
from whitenoise.middleware import WhiteNoiseMiddleware

from relay.routes import is_relay_path

Handler = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def no_store(get_response: Handler) -> Handler:
    """Tells browsers and proxies to keep nothing of a page that does not say otherwise itself."""

    def stamped(response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponseBase:
            return stamped(await get_response(request))

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        return stamped(get_response(request))

    return now


@sync_and_async_middleware
def reader_zone(get_response: Handler) -> Handler:
    """Shows the admin's times in the time zone of who reads them."""

    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> HttpResponseBase:
            if not request.path_info.startswith("/admin/"):
                return cast("HttpResponseBase", await get_response(request))
            with timezone.override(await sync_to_async(zone_of)(request)):
                return cast("HttpResponseBase", await get_response(request))

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith("/admin/"):
            return cast("HttpResponseBase", get_response(request))
        with timezone.override(zone_of(request)):
            return cast("HttpResponseBase", get_response(request))

    return now


def zone_of(request: HttpRequest) -> ZoneInfo | None:
    """The time zone of the user that is logged in; None for nobody, and for a zone that is known no more."""
    try:
        return ZoneInfo(request.user.time_zone) if request.user.is_authenticated else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


class ContentSecurityPolicy(CSPMiddleware):
    """The strict policy everywhere; under /admin/ with what Unfold's pages need (Alpine evaluates
    expressions, the theme's colours are an inline style)."""

    def get_policy_parts(self, request: HttpRequest, response: Any, report_only: bool = False) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith("/admin/"):
            parts.update = {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE], **(parts.update or {})}
        return parts


class Sessions(SessionMiddleware):
    """Django's sessions, for pages alone: a caller of the relay has none, whatever cookie it sends, and none
    is read, saved or made for it."""

    def __call__(self, request: HttpRequest) -> Any:
        if is_relay_path(request.path_info):
            request.session = self.SessionStore()  # those further in ask whether there is one
            return self.get_response(request)
        return super().__call__(request)


class Common(CommonMiddleware):
    """Django's own, which refuses a foreign Host with a page. A relayed request is answered whatever its Host
    is, as the other door does: nothing is decided by it."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if is_relay_path(request.path_info):
            return None
        return super().process_request(request)


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise, in the event loop where the chain is asynchronous: as a synchronous middleware it would
    hold a thread for every request behind it, and keep a client's departure from them."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        super().__init__(get_response)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        found = (
            self.files.get(request.path_info) if not self.autorefresh else self.find_file(request.path_info)
        )
        if found is None:
            response: HttpResponseBase | Awaitable[HttpResponseBase] = self.get_response(request)
            return response
        served = self.serve(found, request)
        return ready(served) if self.is_async else served

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """The file as a whole: they are small, and a streamed one would be read by a thread."""
        answer = static_file.get_response(request.method, request.META)
        content = b""
        if answer.file is not None:
            with answer.file as opened:
                content = opened.read()
        response = HttpResponse(content, status=int(answer.status))
        del response["Content-Type"]
        for name, value in answer.headers:
            response[name] = value
        return response


async def ready(response: HttpResponse) -> HttpResponse:
    """`response`, for a caller that awaits."""
    return response
