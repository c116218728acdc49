"""Tries out an endpoint: sends it the exercises of `providers.corpus` in its own format, with one of its
keys, and judges what comes back.

Blocking, for a command or a thread. At most a score of requests, each bounded in tokens, bytes and time. No
consumer is billed and nothing is recorded; the vendor bills the key a few thousand tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from providers import dialer, probe
from providers.catalog import problem_of
from providers.conformance import Row, Verdict
from providers.corpus import OTHERS, STREAMING, TEXT, TITLES, TOOLS, Exercise, results_of, usage_of
from providers.models import Endpoint, Key
from providers.scrub import CREDENTIAL, scrub
from wire import DIALECTS, FORMATS, azure
from wire.jsons import load_object
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Over, Reply
from wire.neutral.requests import CannotHold, Request, Target, Written
from wire.neutral.translate import Edit
from wire.sse import frames
from wire.types import COUNT_TOKENS, BadFrame, BadRequest, Brief, FrameTooLarge, InbandError

SECONDS = 60.0
"""For one answer."""
IN_ALL = 300.0
"""For a whole run, in seconds."""
MOST_BYTES = 8_000_000
LONGEST_PAUSE = 10.0
"""Seconds that a throttled exercise waits before it is tried a second time."""
REFUSALS: Final = frozenset({400, 404, 405, 413, 415, 422, 501})
"""Statuses by which a vendor says that it will not do what was asked; others tell of keys, money, health."""
AGAIN: Final = frozenset({429, 503, 529})
COUNTERS: Final = {
    "anthropic": ("/v1/messages/count_tokens", ("model", "messages", "system"), "input_tokens"),
    "gemini": ("/v1beta/models/model:countTokens", ("contents",), "totalTokens"),
}
"""Formats that count tokens: where, which fields of a request it takes, and which tells the number."""

Progress = Callable[[Row], None]


class _Refused(Exception):
    """The vendor will not do it; the message is its own, scrubbed."""


class _Untried(Exception):
    """It could not be found out; the message says why."""


class _Wrong(Exception):
    """What came is no answer; the message says what it is."""


class _Absent(Exception):
    """The format, or this model by our own tables, has no place for it."""


@dataclass(frozen=True)
class _Got:
    """An answer's head and body."""

    status: int
    content_type: str
    retry_after: str
    body: bytes


def try_out(
    endpoint: Endpoint, *, model: str, key: Key | None = None, progress: Progress = lambda row: None
) -> list[Row]:
    """Runs the corpus with a model under the vendor's name for it; tells each row as it comes. Raises
    probe.ProbeError where the endpoint cannot be called at all."""
    if problem := problem_of(endpoint):
        raise probe.ProbeError(f"{endpoint} is not called: {problem}.")
    if endpoint.format not in DIALECTS:
        raise probe.ProbeError(f"{endpoint} speaks a format that is not converted.")
    key = key or probe.live_key(endpoint)
    headers = probe.headers_of(endpoint, key)
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        progress(row)

    with dialer.client(allow_private=endpoint.allow_private, proxy=endpoint.proxy, timeout=SECONDS) as client:
        for row in _Trial(endpoint, model, key.secret(), headers, client).rows():
            tell(row)
    return rows


class _Trial:
    """One run."""

    def __init__(
        self, endpoint: Endpoint, model: str, secret: str, headers: dict[str, str], client: httpx.Client
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._headers = {**headers, "content-type": "application/json"}
        carrying = (value for name, value in endpoint.headers.items() if CREDENTIAL.search(name))
        self._secrets = (secret, *carrying)
        self._client = client
        self._wire = FORMATS[endpoint.format]
        self._dialect = DIALECTS[endpoint.format]
        self._quirks = frozenset(endpoint.quirks)
        self._due = time.monotonic() + IN_ALL
        self._number = 0

    def rows(self) -> Iterator[Row]:
        """The rows as they come. Where plain text does not work, nothing else can be told."""
        row, answer = self._row(TEXT)
        yield row
        if answer is None:
            why = "plain text does not work"
            yield from (Row(name, Verdict.UNTRIED, why) for name in TITLES if name != "text")
            return
        yield self._usage("usage", answer)
        row, streamed = self._row(STREAMING)
        yield row
        yield self._usage("usage_streamed", streamed)
        row, called = self._row(TOOLS)
        yield row
        if called is not None and row.verdict == Verdict.WORKS:
            yield self._row(results_of(called))[0]
        else:
            yield Row("tool_results", Verdict.UNTRIED, "no tool was called")
        for exercise in OTHERS:
            yield self._row(exercise)[0]
        yield self._count()

    def _usage(self, name: str, answer: Reply | None) -> Row:
        if answer is None:
            return Row(name, Verdict.UNTRIED, "there was no answer")
        wrong = usage_of(answer)
        return Row(name, Verdict.WRONG if wrong else Verdict.WORKS, wrong)

    def _row(self, exercise: Exercise) -> tuple[Row, Reply | None]:
        """How an exercise went, with the answer if there was one that could be read."""
        try:
            answer = self._answer(exercise)
        except _Refused as error:
            return Row(exercise.name, Verdict.REFUSED, str(error)), None
        except _Untried as error:
            return Row(exercise.name, Verdict.UNTRIED, str(error)), None
        except _Absent as error:
            return Row(exercise.name, Verdict.ABSENT, str(error)), None
        except _Wrong as error:
            return Row(exercise.name, Verdict.WRONG, str(error)), None
        wrong = exercise.judge(answer)
        return Row(exercise.name, Verdict.WRONG if wrong else Verdict.WORKS, wrong), answer

    def _answer(self, exercise: Exercise) -> Reply:
        request = msgspec.structs.replace(exercise.request, model=self._model)
        written = self._written(request)
        if exercise.knob and exercise.knob in written.dropped:
            raise _Absent("it is left out for this endpoint and model")
        brief = Brief(self._model, stream=request.stream, wants_usage=request.stream)
        self._number += 1
        asked = Asked(
            f"conformance{self._number}", int(time.time()), self._model, brief, request, quirks=self._quirks
        )
        got = self._sent(self._dialect.path(brief), brief, written)
        try:
            return self._streamed(got, asked, written) if request.stream else self._whole(got, asked, written)
        except (BadFrame, FrameTooLarge) as error:
            raise _Wrong(f"the answer cannot be read: {error}") from error

    def _written(self, request: Request) -> Written:
        try:
            return self._dialect.write_request(request, Target(self._model, quirks=self._quirks))
        except CannotHold as error:
            raise _Absent(error.text) from error
        except BadRequest as error:
            raise _Wrong(f"the exercise cannot be written: {error.text}") from error

    def _whole(self, got: _Got, asked: Asked, written: Written) -> Reply:
        if got.content_type.startswith("text/"):
            raise _Wrong(f"it answered with {got.content_type}")
        reading = self._wire.read_whole(got.body, asked.brief)
        if reading.error is not None:
            self._fail(reading.error)
        reply = self._dialect.read_reply(got.body, asked)
        told = reading.usage if reading.usage.input_reported or reading.usage.output_reported else None
        reply = msgspec.structs.replace(reply, over=msgspec.structs.replace(reply.over, usage=told))
        return fold(Edit(written).apply(unfold(reply)))

    def _streamed(self, got: _Got, asked: Asked, written: Written) -> Reply:
        if got.content_type != "text/event-stream":
            raise _Wrong(f"it answered a stream with {got.content_type or 'no content type'}")
        watch, decoder, events = self._wire.watch(asked.brief), self._dialect.decoder(asked), list[Event]()
        for passed in (watch.feed(got.body), watch.finish()):
            for frame in frames(passed.out + passed.end):
                if frame.data and not frame.data.startswith(b"[DONE]"):
                    events += decoder.feed(frame)
        if watch.error is not None:
            self._fail(watch.error)
        if not watch.ended:
            raise _Wrong("the stream broke off")
        usage = watch.usage()
        told = usage if usage.input_reported or usage.output_reported else None
        return fold(Edit(written).apply([*events, *decoder.finish(), Over(told)]))

    def _count(self) -> Row:
        if self._endpoint.format not in COUNTERS:
            return Row("count_tokens", Verdict.ABSENT)
        path, fields, number = COUNTERS[self._endpoint.format]
        request = msgspec.structs.replace(TEXT.request, model=self._model)
        try:
            body = load_object(self._written(request).body)
            kept = {name: value for name, value in body.items() if name in fields}
            brief = Brief(self._model, kind=COUNT_TOKENS)
            got = self._sent(path, brief, Written(msgspec.json.encode(kept)))
            told: Any = load_object(got.body).get(number)
        except _Refused as error:
            return Row("count_tokens", Verdict.REFUSED, str(error))
        except _Untried as error:
            return Row("count_tokens", Verdict.UNTRIED, str(error))
        except BadFrame as error:
            return Row("count_tokens", Verdict.WRONG, f"the answer cannot be read: {error}")
        if type(told) is int and told > 0:
            return Row("count_tokens", Verdict.WORKS)
        return Row("count_tokens", Verdict.WRONG, "no number of tokens was told")

    def _sent(self, path: str, brief: Brief, written: Written) -> _Got:
        """What is answered to a request, with a success's status. Raises what else it means."""
        got = self._post(path, brief, written)
        if got.status in AGAIN:
            pause = float(got.retry_after) if got.retry_after.isdecimal() else 2.0
            time.sleep(max(0.0, min(pause, LONGEST_PAUSE, self._due - time.monotonic())))
            got = self._post(path, brief, written)
        if 300 <= got.status < 400:
            raise _Untried(f"it sends us elsewhere (status {got.status}): correct the base URL")
        if got.status >= 400:
            self._fail(self._wire.read_error(got.status, got.body))
        return got

    def _post(self, path: str, brief: Brief, written: Written) -> _Got:
        base, model = self._endpoint.base_url, self._model
        path, _, query = path.partition("?")
        if azure.QUIRK in self._quirks:
            url = azure.deployment_url(base, model=model, path=path, query=query)
        else:
            url = self._wire.upstream_url(base, brief, model=model, path=path, query=query)
        left = self._due - time.monotonic()
        if left <= 0:
            raise _Untried("the time for the whole run was over")
        due = time.monotonic() + min(SECONDS, left)
        headers = {**self._headers, **written.headers}
        try:
            with self._client.stream("POST", url, content=written.body, headers=headers) as response:
                body = bytearray()
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise _Wrong("the answer does not end")
                    if time.monotonic() > due:
                        raise _Untried("it did not come to an end in time")
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return _Got(response.status_code, kind, response.headers.get("retry-after", ""), bytes(body))
        except dialer.Forbidden:
            raise _Untried("it leads to a private or reserved address, which is not called") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise _Untried(probe.words_of(error, self._endpoint)) from None

    def _fail(self, error: InbandError) -> None:
        """Raises what an error of the vendor's means."""
        said = scrub(error.text, *self._secrets, base_url=self._endpoint.base_url)[:300]
        if error.status in REFUSALS:
            raise _Refused(f"{error.status}: {said}" if said else f"status {error.status}")
        raise _Untried(f"status {error.status}: {said}" if said else f"status {error.status}")
