"""Hostile requests, made at random from a seed: well-formed ones with something wrong in them, and bytes that
are no HTTP at all."""

from __future__ import annotations

import copy
import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.routes import ROUTES, Route
from tests.relay.test_routes import BODIES, GEMINI_BODIES, filled
from wire.types import STORED, TRANSCRIBE

DEEP = 100_000
EDGE = "edge-of-a-form"


@dataclass(frozen=True)
class Raw:
    """Stands in a value for JSON, or what is none, that no encoder would write."""

    text: str


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, "", "x", "sim", [], {}, [[]], [None], [0], [{}], {"": None},
    {"type": None}, {"type": 7}, {"type": "text"}, {"text": {}}, [["x"]], ["x", 1, {}], "a" * 5_000,
    [{}] * 500, Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e400"), Raw("-1e400"), Raw("1e-400"),
    Raw("9" * 18), Raw("9" * 19), Raw("9" * 5_000), Raw("-9223372036854775809"), Raw("18446744073709551616"),
    Raw('"\\u0000"'), Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\ud83d\\ude00"'), Raw('"\\uFFFE"'),
    Raw('"\u2028\u202e\ufeff"'), Raw('"a\\"b\\\\"'), Raw('"a\nb"'), Raw('"\\x"'), Raw('"\\u12"'), Raw("tru"),
    Raw("01"), Raw("+1"), Raw(".5"), Raw("1."), Raw("--1"), Raw("0x10"), Raw("'x'"), Raw("[1,]"),
    Raw('{"a":1,}'), Raw('{"a":1,"a":2}'), Raw('{"type":"text","type":7}'), Raw("[" * 63 + "]" * 63),
    Raw("[" * 70 + "]" * 70), Raw('{"a":' * 70 + "1" + "}" * 70), Raw("[" * DEEP + "]" * DEEP),
    Raw('{"a":' * 3_000), Raw("[" * DEEP), Raw("/*x*/1"), Raw('"' + "\\u0000" * 500 + '"'),
)  # fmt: skip
"""What may stand where anything stands."""
FIELDS = (
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n",
    "best_of", "messages", "input", "prompt", "system", "instructions", "tools", "tool_choice", "metadata",
    "user", "response_format", "text", "reasoning", "thinking", "previous_response_id", "conversation",
    "background", "store", "include", "service_tier", "modalities", "audio", "documents", "file",
    "stream_format", "voice", "size", "contents", "content", "generationConfig", "generation_config",
    "safetySettings", "systemInstruction", "cachedContent", "requests", "encoding_format", "logprobs",
    "mo\\u0064el", "\\u0000", "",
)  # fmt: skip
CONTENT_TYPES = (
    "application/json", "application/json; charset=utf-16", "text/plain", "text/html", "", "x", "/", ";",
    "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=\"", "multipart/mixed; boundary=x",
    f"multipart/form-data; boundary={EDGE}",
    "application/json, text/plain", "application/xml", "application/octet-stream", "\xff\xfe", "a" * 4_000,
    "application/json; charset=\x7f", "multipart/form-data; boundary=*; boundary*=utf-8''x",
)  # fmt: skip
HEADERS: tuple[tuple[str, str], ...] = (
    ("content-encoding", "gzip"), ("content-encoding", "br"), ("content-encoding", "identity, gzip"),
    ("accept", "text/html"), ("accept", "\xff"), ("accept-encoding", "gzip;q=nan"),
    ("accept-language", "\xe9"),
    ("accept-language", "x" * 3_000), ("cookie", "sessionid=x; csrftoken=\x7f"), ("cookie", "=;=;=" * 200),
    ("expect", "100-continue"), ("expect", "200-ok"), ("connection", "keep-alive, authorization"),
    ("connection", "x" * 500), ("te", "trailers"), ("x-forwarded-for", "::1, \xff"), ("forwarded", "for=x"),
    ("x-http-method-override", "DELETE"), ("x-request-id", "\xff\xfe" * 300),
    ("user-agent", "\xf0\x28" * 500),
    ("range", "bytes=0-"), ("if-none-match", "*"), ("if-modified-since", "never"), ("origin", "null"),
    ("anthropic-version", "\x7f"), ("anthropic-beta", ",,," * 100), ("openai-beta", "assistants=\xa0"),
    ("idempotency-key", " "), ("x-api-key", "x" * 201), ("x-api-key", "\xff" * 30), ("api-key", "two"),
    ("x-goog-api-key", "' OR 1=1 --"), ("authorization", "Basic Og=="), ("authorization", "Bearer"),
    ("content-length-", "5"), ("date", "\x80"), ("referer", "http://[::1"), ("traceparent", "00-0-0-0"),
    ("x-aether-max-cost", "NaN"), ("sec-websocket-key", "x"), ("upgrade", "h2c"), ("host", "a b"),
    ("host", "\xff.example"), ("host", "a,b"), ("host", "localhost:99999999"), ("host", "evil.example"),
)  # fmt: skip
METHODS = ("GET", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE", "TRACE", "PROPFIND", "POST")
BITS = (
    "..", "%2e%2e", "%2f", "%5c", "%00", "%0d%0a", "%ff", "%", "%zz", "//", "/./", ":", "%3A", "%253A", "@",
    "sim", "models", "~", ";x=y", "%C3%A9", "\xe9", "a" * 3_000, "{id}", "*", "$", "[]", "\\", "|", "'", '"',
    "<",
    "generateContent", ":streamGenerateContent", "resp_%00", ".", "-",
)  # fmt: skip
QUERIES = (
    "alt=sse", "alt=\xff", "alt=sse&alt=json", "key=", "key=short", "stream=true", "%", "&&&", "=",
    "a=" * 500,
    "alt=%00", "$alt=json;enum-encoding=int", "limit=99999999999999999999", "beta=true", "?", "pageSize=-1",
    "after=\x7f", "starting_after=1e400",
)  # fmt: skip
NO_HTTP = (
    b"\r\n\r\n", b"\x00" * 64, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\ncontent-length: 1e3\r\n\r\nx", b"POST /v1/messages\r\n\r\n",
    b"\xff" * 300,
    b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /v1/messages HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    b"POST /v1/messages HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\n: x\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nx\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nx y: z\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
    b"POST /v1/messages HTTP/1.1\r\nx: \x00\r\n\r\n", b"G E T / HTTP/1.1\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b"CONNECT metadata.google.internal:80 HTTP/1.1\r\nhost: x\r\n\r\n", b"GET * HTTP/1.1\r\nhost: x\r\n\r\n",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """`label` says what was done to it; `http` whether it is a request at all, which gets an answer."""

    method: str
    path: str
    data: bytes = field(repr=False)
    label: str
    http: bool = True
    headers: frozenset[str] = field(default=frozenset(), repr=False)
    """Their names in lower case."""


@dataclass
class Draft:
    """A well-formed request, to be spoilt."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def bytes(self) -> bytes:
        """As it stands on the wire."""
        target = f"{self.path}?{self.query}" if self.query else self.path
        names = {name for name, _ in self.headers}
        lines = [f"{self.method} {target} HTTP/1.1", *(["host: localhost"] if "host" not in names else [])]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method == "POST":
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


def written(value: Any) -> str:
    """JSON text, with every Raw as it is."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f'"{name}":{written(each)}' for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def form(*fields: tuple[str, str]) -> bytes:
    """A multipart form of these fields and a file."""
    parts = [
        f'--{EDGE}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields
    ]
    file = f'--{EDGE}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
    return "".join([*parts, file, f"--{EDGE}--\r\n"]).encode("latin-1", "replace")


class Fuzzer:
    """The same requests again for the same seed."""

    def __init__(self, seed: int, secret: str) -> None:
        self._chance = random.Random(seed)
        self._secret = secret
        self._spoilers: tuple[Callable[[Draft, Any], str], ...] = (
            self._body_value, self._body_value, self._body_field, self._body_bytes, self._body_packed,
            self._body_twice, self._form, self._path, self._query, self._method, self._type, self._headers,
            self._headers, self._credential,
        )  # fmt: skip

    def request(self) -> Request:
        """The next one."""
        if self._chance.random() < 0.05:
            data = self._chance.choice(NO_HTTP)
            if self._chance.random() < 0.5:
                data = self._spoilt(data)
            return Request("", "", data, f"no HTTP: {data[:60]!r}", http=False)
        draft, value = self._draft(self._chance.choice(ROUTES))
        labels = [
            self._chance.choice(self._spoilers)(draft, value)
            for _ in range(self._chance.choice((1, 1, 2, 3)))
        ]
        names = frozenset(name.lower() for name, _ in draft.headers)
        return Request(draft.method, draft.path, draft.bytes(), "; ".join(labels), headers=names)

    def _draft(self, route: Route) -> tuple[Draft, Any]:
        value: Any = None
        headers = [("authorization", f"Bearer {self._secret}"), ("content-type", "application/json")]
        body = b""
        if route.kind == TRANSCRIBE:
            headers[1] = ("content-type", f"multipart/form-data; boundary={EDGE}")
            body = form(("model", "sim"))
        elif route.method == "POST" and route.kind != STORED:
            made = (
                GEMINI_BODIES[route.action]
                if route.format == "gemini"
                else {"model": "sim", **BODIES[route.path]}
            )
            value = copy.deepcopy(made)
            if (
                route.path in ("/v1/chat/completions", "/v1/responses", "/v1/messages")
                and self._chance.random() < 0.4
            ):
                value["stream"] = True
            body = written(value).encode()
        if route.format == "anthropic":
            headers.append(("anthropic-version", "2023-06-01"))
        return Draft(route.method, filled(route), "", headers, body), value

    # What is done to a request; each says what.

    def _body_value(self, draft: Draft, value: Any) -> str:
        """Another value somewhere in the body."""
        if not isinstance(value, dict):
            return self._body_bytes(draft, value)
        at: Any = value
        steps: list[str] = []
        new = copy.deepcopy(self._chance.choice(VALUES))  # a second change must not reach the table
        while True:
            name = self._chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
            steps.append(str(name))
            inner = at[name]
            if not isinstance(inner, dict | list) or not inner or self._chance.random() < 0.4:
                at[name] = new
                break
            at = inner
        draft.body = written(value).encode("utf-8", "surrogatepass")
        return f"{'.'.join(steps)} = {written(new)[:40]}"

    def _body_field(self, draft: Draft, value: Any) -> str:
        """A field more, known in some format."""
        if not isinstance(value, dict):
            return self._body_bytes(draft, value)
        name, new = self._chance.choice(FIELDS), copy.deepcopy(self._chance.choice(VALUES))
        value[name] = new
        draft.body = written(value).encode("utf-8", "surrogatepass")
        return f"{name} = {written(new)[:40]}"

    def _body_twice(self, draft: Draft, value: Any) -> str:
        """A field twice."""
        name = self._chance.choice(FIELDS)
        one, two = (written(self._chance.choice(VALUES)) for _ in range(2))
        text = f'{{"{name}":{one},"{name}":{two},'
        draft.body = draft.body.replace(b"{", text.encode("utf-8", "surrogatepass"), 1)
        return f"{name} twice"

    def _body_bytes(self, draft: Draft, _value: Any) -> str:
        """Bytes of the body lost, doubled or changed."""
        draft.body = self._spoilt(draft.body)
        return "bytes of the body"

    def _body_packed(self, draft: Draft, _value: Any) -> str:
        """Another encoding, said or not."""
        text = draft.body.decode("utf-8", "replace")
        ways: dict[str, Callable[[], bytes]] = {
            "gzip": lambda: gzip.compress(draft.body), "deflate": lambda: zlib.compress(draft.body),
            "utf-16": lambda: text.encode("utf-16"), "utf-32": lambda: text.encode("utf-32"),
            "bom": lambda: b"\xef\xbb\xbf" + draft.body, "cesu": lambda: draft.body + b"\xed\xa0\x80",
            "zip bomb": lambda: gzip.compress(b"[" * 1_000_000), "nothing": lambda: b"",
            "blanks": lambda: b" \n\t" * 99,
        }  # fmt: skip
        name = self._chance.choice(list(ways))
        draft.body = ways[name]()
        if self._chance.random() < 0.5:
            draft.headers.append(("content-encoding", name))
        return f"a body of {name}"

    def _form(self, draft: Draft, _value: Any) -> str:
        """A form, most often a bad one."""
        draft.headers = [each for each in draft.headers if each[0] != "content-type"]
        edge = self._chance.choice((EDGE, EDGE, EDGE, f'"{EDGE}"', EDGE + "x", "", "\xff", "a" * 80))
        draft.headers.append(("content-type", f"multipart/form-data; boundary={edge}"))
        fields = [
            (
                self._chance.choice(FIELDS),
                self._chance.choice(("sim", "", "\x00", "a" * 2_000, "sim\r\n", "true", "-1")),
            )
            for _ in range(self._chance.randrange(4))
        ]
        draft.body = form(("model", "sim"), *fields)
        if self._chance.random() < 0.6:
            draft.body = self._spoilt(draft.body)
        return f"a form behind {edge!r}"

    def _path(self, draft: Draft, _value: Any) -> str:
        """Something in the path."""
        bit, head = self._chance.choice(BITS), draft.path.index("/", 1) + 1
        at = self._chance.randrange(head, len(draft.path) + 1)
        draft.path = draft.path[:at] + bit + draft.path[at:]
        return f"a path with {bit[:20]!r}"

    def _query(self, draft: Draft, _value: Any) -> str:
        draft.query = "&".join(self._chance.choice(QUERIES) for _ in range(self._chance.randrange(1, 4)))
        return f"?{draft.query[:40]}"

    def _method(self, draft: Draft, _value: Any) -> str:
        draft.method = self._chance.choice(METHODS)
        return draft.method

    def _type(self, draft: Draft, _value: Any) -> str:
        kind = self._chance.choice(CONTENT_TYPES)
        draft.headers = [
            *(each for each in draft.headers if each[0] != "content-type"),
            ("content-type", kind),
        ]
        return f"of type {kind[:40]!r}"

    def _headers(self, draft: Draft, _value: Any) -> str:
        more = self._chance.sample(HEADERS, self._chance.randrange(1, 6))
        draft.headers += [(self._cased(name), value) for name, value in more]
        return f"headers {[name for name, _ in more]}"

    def _credential(self, draft: Draft, _value: Any) -> str:
        secret = self._chance.choice(
            ("", "x", "sk-aether-" + "x" * 43, "\xff" * 40, self._secret + "'", "a" * 9_000)
        )
        draft.headers[0] = (self._chance.choice(("authorization", "x-api-key", "cookie")), secret)
        return f"credential {secret[:20]!r}"

    def _cased(self, name: str) -> str:
        return "".join(self._chance.choice((each.upper(), each)) for each in name)

    def _spoilt(self, data: bytes) -> bytes:
        out = bytearray(data or b"{")
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            at = self._chance.randrange(len(out) + 1)
            match self._chance.randrange(5):
                case 0:
                    out[at : at + 1] = self._chance.randbytes(1)
                case 1:
                    del out[at : at + self._chance.randrange(1, 30)]
                case 2:
                    out[at:at] = out[at : at + 30]
                case 3:
                    out[at:at] = self._chance.choice(
                        (b"\x00", b'"', b"\\", b"\r\n", b"{", b"]", b"\xff", b"--")
                    )
                case _:
                    del out[at:]
        return bytes(out)
