"""Every public path of the relay, one line each; both doors read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wire.types import (
    COMPLETE,
    COUNT_TOKENS,
    EMBED,
    GENERATE,
    IMAGE,
    MODERATE,
    RERANK,
    SPEECH,
    STORED,
    TRANSCRIBE,
)

MODELS = "models"


@dataclass(frozen=True, slots=True)
class Route:
    """`kind` is what a request is (wire.types), or MODELS. `action` is Gemini's verb or the tail of a stored
    response's path."""

    method: str
    path: str
    format: str
    kind: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A request's route, with what its path names: a model (Gemini, one of the list) or a stored response."""

    route: Route
    name: str = ""


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/chat/completions", "openai_chat", GENERATE),
    Route("POST", "/v1/responses", "openai_responses", GENERATE),
    Route("GET", "/v1/responses/{id}", "openai_responses", STORED),
    Route("DELETE", "/v1/responses/{id}", "openai_responses", STORED),
    Route("GET", "/v1/responses/{id}/input_items", "openai_responses", STORED, "input_items"),
    Route("POST", "/v1/responses/{id}/cancel", "openai_responses", STORED, "cancel"),
    Route("POST", "/v1/messages", "anthropic", GENERATE),
    Route("POST", "/v1/messages/count_tokens", "anthropic", COUNT_TOKENS),
    Route("POST", "/v1/embeddings", "openai_chat", EMBED),
    Route("POST", "/v1/rerank", "openai_chat", RERANK),
    Route("POST", "/v1/completions", "openai_chat", COMPLETE),
    Route("POST", "/v1/moderations", "openai_chat", MODERATE),
    Route("POST", "/v1/images/generations", "openai_chat", IMAGE),
    Route("POST", "/v1/audio/speech", "openai_chat", SPEECH),
    Route("POST", "/v1/audio/transcriptions", "openai_chat", TRANSCRIBE),
    *(
        Route("POST", f"/{version}/models/{{model}}:{action}", "gemini", kind, action)
        for version in ("v1", "v1beta")
        for action, kind in (
            ("generateContent", GENERATE),
            ("streamGenerateContent", GENERATE),
            ("countTokens", COUNT_TOKENS),
            ("embedContent", EMBED),
            ("batchEmbedContents", EMBED),
        )
    ),
    Route("GET", "/v1/models", "openai_chat", MODELS),
    Route("GET", "/v1/models/{model}", "openai_chat", MODELS),
    Route("GET", "/v1beta/models", "gemini", MODELS),
    Route("GET", "/v1beta/models/{model}", "gemini", MODELS),
)

_SEGMENT = {"{model}": r"(?P<name>[\w.:@\-/]{1,200})", "{id}": r"(?P<name>[\w.\-]{1,200})"}


def _compiled(path: str) -> re.Pattern[str]:
    pattern = re.escape(path)
    for placeholder, expression in _SEGMENT.items():
        pattern = pattern.replace(re.escape(placeholder), expression)
    return re.compile(pattern, re.ASCII)


_FIXED = {(route.method, route.path): Match(route) for route in ROUTES if "{" not in route.path}
_OPEN = tuple((_compiled(route.path), route) for route in ROUTES if "{" in route.path)
_METHODS = {"GET", "POST", "DELETE"}


def is_relay_path(path: str) -> bool:
    """Whether the relay answers for `path` at all, be it with a 404."""
    return path.startswith(("/v1/", "/v1beta/")) or path in ("/v1", "/v1beta")


def match(method: str, path: str) -> Match | None:
    """The route of a request by its raw path, as sent: an escaped slash or dot, or any other escape that a
    model's name cannot hold, matches nothing. None where there is no such route."""
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return fixed
    if "%3A" in path or "%3a" in path:  # some clients escape the colon before Gemini's verb
        path = path.replace("%3A", ":").replace("%3a", ":")
    if "%40" in path:
        path = path.replace("%40", "@")
    if ".." in path or "//" in path:
        return None
    for pattern, route in _OPEN:
        if route.method == method and (found := pattern.fullmatch(path)):
            return Match(route, found["name"])
    return None


def allowed_methods(path: str) -> tuple[str, ...]:
    """The methods that `path` has; empty where the path is unknown."""
    return tuple(sorted(method for method in _METHODS if match(method, path)))


def takes_uploads(method: str, path: str) -> bool:
    """Whether a request of this path may bring a form, which may be larger than JSON."""
    found = match(method, path)
    return found is not None and found.route.kind == TRANSCRIBE


def format_of(method: str, path: str) -> str:
    """The format in which a request of this path is answered, also with an error: an unknown method is told
    in the format of the path, an unknown path in OpenAI's, one of a Gemini model in Gemini's."""
    for each in (method, *sorted(_METHODS, reverse=True)):
        if found := match(each, path):
            return found.route.format
    return "gemini" if path.startswith("/v1beta/models/") else "openai_chat"
