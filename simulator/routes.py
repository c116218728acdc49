"""From a request to its play: which path is which format, who may call it, what it answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import orjson

from simulator import ask as asks, control, errors, extras, frames, pupil, responses, stored
from simulator.ask import Ask, BadRequestError
from simulator.compose import ID
from simulator.core import Raw, Seen, Vendor
from simulator.delivery import deliver
from simulator.faults import FAULTS
from simulator.frames import spoil_whole
from simulator.made import EVENT_STREAM, Made
from simulator.options import BadOptionError, Options, parse
from simulator.play import Act, Headers, Play, whole
from simulator.rules import TABLES

_GEMINI = re.compile(r"/v1(?:beta)?/models/(.+):(\w+)")
_READERS: dict[str, Callable[[dict[str, Any]], Ask]] = {
    "/v1/chat/completions": asks.chat,
    "/v1/responses": asks.responses,
    "/v1/messages": asks.anthropic,
}
_MAX_CACHED = 2**20
_cache: dict[tuple[object, ...], list[bytes]] = {}


def dialect_of(seen: Seen) -> str:
    """The format whose errors this request understands."""
    if seen.path.startswith("/v1/messages"):
        return "anthropic"
    if seen.path.startswith("/v1beta/") or _GEMINI.fullmatch(seen.path):
        return "gemini"
    if seen.path == "/v1/responses" or seen.path.startswith("/v1/responses/"):
        return "openai_responses"
    if seen.path.startswith("/v1/models"):
        if seen.header("anthropic-version") is not None:
            return "anthropic"
        if seen.header("x-goog-api-key") is not None:
            return "gemini"
    return "openai_chat"


def vendor_headers(dialect: str) -> Headers:
    """Headers as this vendor adds them to each answer, with what a relay should not pass on among them."""
    if dialect == "anthropic":
        return [
            ("request-id", "req_" + ID),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("set-cookie", "_cfuvid=simulator; path=/; HttpOnly; Secure"),
            ("server", "simulator"),
        ]
    if dialect == "gemini":
        return [
            ("server-timing", "gfet4t7; dur=12"),
            ("x-content-type-options", "nosniff"),
            ("vary", "Origin"),
            ("server", "simulator"),
        ]
    return [
        ("x-request-id", "req_" + ID),
        ("openai-organization", "org-simulator"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "499"),
        ("set-cookie", "__cf_bm=simulator; path=/; HttpOnly; Secure"),
        ("server", "simulator"),
    ]


def answer(vendor: Vendor, seen: Seen, body: bytes) -> Play:
    """What to answer to this request, its body read in full. Never raises for what a client sent."""
    vendor.keep_body(seen, body)
    if vendor.control and seen.path.startswith("/_simulator/"):
        return control.answer(vendor, seen)
    if isinstance(seen.play, Raw):
        return seen.play.play()
    dialect = dialect_of(seen)
    try:
        play = _refused(seen, dialect) or _route(vendor, seen, dialect)
    except BadRequestError as error:
        play = refusal("400", dialect, text=str(error), param=error.param, code=error.code)
    except BadOptionError as error:
        play = refusal("400", dialect, text=str(error), param="model")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        play = refusal("400", dialect, text=f"The request cannot be read: {error}")
    return _stamped(play, vendor.fresh_id())


def _stamped(play: Play, fresh: str) -> Play:
    play.headers = [(name, value.replace(ID, fresh)) for name, value in play.headers]
    return play


def refusal(
    name: str,
    dialect: str,
    *,
    text: str = "",
    param: str | None = None,
    code: str | None = None,
    model: str = "",
) -> Play:
    """A vendor's error answer."""
    kind = errors.KINDS[name]
    told = orjson.dumps(errors.body(kind, dialect, model=model, text=text, param=param, code=code))
    return whole(told, status=kind.status, headers=vendor_headers(dialect))


def _refused(seen: Seen, dialect: str) -> Play | None:
    """401 without a credential where this vendor expects it, 400 without its version header, or None."""
    names = {"anthropic": ("x-api-key", "authorization"), "gemini": ("x-goog-api-key",)}
    given = any(seen.header(name) for name in names.get(dialect, ("authorization", "api-key")))
    if dialect == "gemini":
        given = given or (bool(seen.secret) and "key=" in seen.query)
    if not given or not seen.secret or seen.secret.startswith(("invalid", "sk-invalid")):
        return refusal("401", dialect)
    if dialect == "anthropic" and seen.header("anthropic-version") is None:
        return refusal("400", dialect, text="anthropic-version: header is required")
    return None


def _route(vendor: Vendor, seen: Seen, dialect: str) -> Play:
    path, gemini = seen.path, _GEMINI.fullmatch(seen.path)
    if seen.method == "POST" and path in _READERS:
        return generate(vendor, seen, dialect, _READERS[path](asks.load(seen.body)))
    if seen.method == "POST" and gemini and gemini[2] in ("generateContent", "streamGenerateContent"):
        streams = gemini[2] == "streamGenerateContent"
        return generate(vendor, seen, dialect, asks.gemini(gemini[1], asks.load(seen.body), stream=streams))
    if path.startswith("/v1/responses/"):
        told = parse("", str(seen.play))
        if told.fault or told.wait:
            return finish(vendor, seen, dialect, Made(told, [b"{}"]))
        return stored.answer(vendor, seen) or refusal("404", dialect, text="Response not found.")
    made = extras.answer(seen, dialect, gemini[1] if gemini else "", gemini[2] if gemini else "")
    if made is None:
        return refusal("404", dialect, text=f"Unknown request URL: {seen.method} {path}.")
    if made.kind.startswith(("application/json", "text/")):
        made = made.stamped(vendor.fresh_id(), int(time.time()))
    return finish(vendor, seen, dialect, made)


def generate(vendor: Vendor, seen: Seen, dialect: str, ask: Ask) -> Play:
    """A whole or streamed answer, with whatever fault the name or the script asks for."""
    options = parse(ask.model, str(seen.play))
    if not vendor.control:
        options = options.modest()
    if options.strict:
        betas = [name.strip() for name in (seen.header("anthropic-beta") or "").split(",")]
        TABLES[dialect].check({**ask.body, "betas": betas} if dialect == "anthropic" else ask.body)
    if part := pupil.refused(ask, options.refuses):
        return refusal("400-parameter", dialect, text=f"This model does not support {part}.")
    if dialect == "openai_responses":
        unknown = stored.unknown_previous(vendor, seen, ask)
        if unknown:
            return unknown
    streamed = ask.stream is not (options.fault == "swap")
    as_array = dialect == "gemini" and streamed and "alt=sse" not in seen.query
    kind = EVENT_STREAM if streamed and not as_array else "application/json"
    frames = rendered(dialect, ask, options, streamed=streamed, as_array=as_array)
    fresh, now = vendor.fresh_id(), int(time.time())
    made = Made(options, frames, kind, ask.model, streamed).stamped(fresh, now)
    if dialect == "openai_responses" and ask.body.get("store") is not False:
        whole_one = Made(options, rendered(dialect, ask, options, streamed=False, as_array=False))
        stored.keep(vendor, seen.secret, fresh, whole_one.stamped(fresh, now).frames[0], ask)
    return finish(vendor, seen, dialect, made)


def rendered(dialect: str, ask: Ask, options: Options, *, streamed: bool, as_array: bool) -> list[bytes]:
    """Frames of a stream, or one frame for a whole answer; made once for requests that get the same."""
    key: tuple[object, ...] | None = None
    if not ask.tools and ask.schema is None and not options.strict and options.words != "obey":
        echoed = responses.settings(ask.body) if dialect == "openai_responses" else b""
        said = ask.prompt if options.words == "echo" else ""
        flags = (
            ask.include_usage,
            ask.answered,
            ask.json,
            ask.think,
            ask.count,
            ask.max_tokens if options.limit else 0,
        )
        key = (dialect, ask.model, options, streamed, as_array, said, echoed, ask.words, flags)
        if key in _cache:
            return _cache[key]
    if streamed:
        made = frames.stream(dialect, ask, options, as_array=as_array)
    else:
        made = [frames.whole(dialect, ask, options)]
    if key is not None and sum(map(len, made)) < _MAX_CACHED:
        if len(_cache) >= 64:
            _cache.clear()
        _cache[key] = made
    return made


def finish(vendor: Vendor, seen: Seen, dialect: str, made: Made) -> Play:
    """The play of an answer, or of the fault that takes its place."""
    options = made.options
    headers = vendor_headers(dialect)
    fault = options.fault
    if fault and FAULTS[fault].stage == "status":
        return _status(seen, dialect, made, headers)
    if fault == "body-early":
        play = refusal("413", dialect)
        play.close = True
        return play
    if fault in ("body-reset", "body-refuse"):
        return Play(before=(Act.RESET if fault == "body-reset" else Act.STALL,))
    if not made.streamed and made.kind == "application/json":
        made = replace(made, frames=[spoil_whole(made.frames[0], dialect, options)])
    return deliver(made, headers, pace=vendor.pace if options.plain else 0)


@lru_cache(maxsize=4)
def _page(title: str) -> bytes:
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center>"
        "<hr><center>nginx</center></body></html>\n"
    ).encode()


def _status(seen: Seen, dialect: str, made: Made, headers: Headers) -> Play:
    options, fault = made.options, made.options.fault
    if fault in ("html", "html-502"):
        title, status = ("Welcome", 200) if fault == "html" else ("502 Bad Gateway", 502)
        play = whole(_page(title), status=status, kind="text/html; charset=utf-8")
    elif fault == "redirect":
        target = "http://elsewhere.invalid/v1/login"
        play = whole(b"", status=302, kind="text/html", headers=[("location", target)])
    elif fault == "empty":
        play = Play(headers=[("content-type", made.kind), *headers])
    elif fault == "404-path":
        play = whole(b"404 page not found\n", status=404, kind="text/plain")
    else:
        text = _leak(seen, errors.KINDS[fault], dialect) if options.leak else ""
        play = refusal(fault, dialect, text=text, model=made.model)
    if options.retry:
        value = options.retry
        if value == "date":
            now = int(time.time())
            play.headers.append(("date", formatdate(now, usegmt=True)))
            value = formatdate(now + 30, usegmt=True)
        play.headers.append(("retry-after", value))
    if options.wait:
        play.before = (options.wait / 1000,)
    return play


def _leak(seen: Seen, kind: errors.Kind, dialect: str) -> str:
    """An error text with what must not travel on: our credential, an inner host, a balance."""
    credential = seen.header("authorization") or seen.header("x-api-key") or seen.secret
    said = (kind.texts or {}).get(dialect) or kind.text
    return f"{said} (Authorization: {credential}; upstream http://10.0.0.7:8080/v1; balance: $12.34)"
