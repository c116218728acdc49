"""Nobody leads the relay to an address that is closed, by whatever spelling, answer of a name server or
redirect: a trap listens there, and is never called (security.md, 11 to 15)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.core.exceptions import ValidationError

from aether.configfile import ConfigError, import_config
from providers import dialer, probe
from providers.models import Deployment, Endpoint, Key, Model, Provider
from providers.probe import ProbeError
from tests.counts import count
from tests.providers.listener import Answer, Listener, listening
from tests.providers.test_dialer import SPELLINGS, Names
from tests.relay.asks import ASKS, WHOLE, Ask, error
from tests.relay.harness import BASES, PRICE, House, house

pytestmark = pytest.mark.django_db(transaction=True)

MORE = (
    "user@127.0.0.1", "api.example.com@127.0.0.1", "127.0.0.1#@api.example.com",
    "127.0.0.1\\@api.example.com", "127.0.0.1%00.example.com", "[::1%25lo]", "[::ffff:0:127.0.0.1]",
    "[2001:0:53aa:64c:0:fbff:80ff:fffe]", "127.0.0.1.nip.test", "metadata.google.internal",
    "instance-data.ec2.internal", "ip6-localhost", "localhost.localdomain", "broadcasthost",
    "0x7f.0x00.0x00.0x01.", "127.0.0.1\u3002", "\uff11\uff12\uff17.1",
)  # fmt: skip
HOSTS = (*SPELLINGS, *MORE)
STATUSES = (301, 302, 303, 307, 308)


@pytest.fixture
def trap() -> Iterator[Listener]:
    with listening(Listener()) as listener:
        yield listener


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name server by which every name is this machine, for both planes."""
    names = Names(["127.0.0.1"])
    monkeypatch.setattr(dialer, "Dialer", partial(dialer.Dialer, lookup=names.later))
    monkeypatch.setattr(dialer, "client", partial(dialer.client, lookup=names.now))
    return names


def asked() -> tuple[str, ...]:
    """All of them at proof; the dialer's own tests take all of them always."""
    return HOSTS[:: count(3, 1)]


def fill(port: int, *, proxy: bool = False) -> None:
    """A provider for each spelling, past every check of a form."""
    for number, host in enumerate(asked()):
        provider = Provider.objects.create(name=f"trap {number}")
        place = f"http://{host}:{port}"
        fields = (
            {"base_url": "http://vendor.test/v1", "proxy": place} if proxy else {"base_url": f"{place}/v1"}
        )
        Endpoint.objects.bulk_create([Endpoint(provider=provider, format="openai_chat", **fields)])
        key = Key(provider=provider, name="k")
        key.set_secret("sk-canary-of-the-trap-0123456789")
        key.save()
        model = Model.objects.create(name=f"trap-{number}", **PRICE)
        Deployment.objects.create(model=model, provider=provider, upstream_name="sim")


def test_there_are_sixty_spellings() -> None:
    assert len(set(HOSTS)) >= 60


@pytest.mark.parametrize("proxy", [False, True], ids=["base URL", "proxy"])
async def test_a_relayed_request_reaches_no_closed_address(
    door: str, proxy: bool, names: Names, trap: Listener, record_property: Callable[[str, object], None]
) -> None:
    async with house(
        door, prepare=lambda _: fill(trap.port, proxy=proxy), knobs={"connect_timeout": 1.0}
    ) as each:
        for number, host in enumerate(asked()):
            answer = await WHOLE[0].send(each, f"trap-{number}")
            assert answer.status_code in (502, 503), (host, answer.text)
            told = error(WHOLE[0], answer.text)["message"]
            assert "127.0.0.1" not in told
            assert host not in told or len(host) < 5
        assert each.vendor.total == 0
        assert len(each.journal()) == len(asked())
    assert trap.lines == []
    record_property("measured", f"{door}: {len(asked())} spellings, 0 hits")


def test_asking_an_endpoint_how_it_is_reaches_no_closed_address(names: Names, trap: Listener) -> None:
    fill(trap.port)
    for endpoint in Endpoint.objects.all():
        with pytest.raises(ProbeError):
            probe.fetch_models(endpoint)
        assert not probe.test_endpoint(endpoint).ok, endpoint.base_url
    assert trap.lines == []


def test_form_and_file_refuse_the_same_addresses_and_call_none(names: Names, trap: Listener) -> None:
    provider, refused = Provider.objects.create(name="acme"), set[str]()
    for host in HOSTS:
        url = f"http://{host}:{trap.port}/v1"
        try:
            Endpoint(provider=provider, format="openai_chat", base_url=url).full_clean()
        except ValidationError:
            refused.add(host)
    for host in HOSTS:
        quoted = f"http://{host}:{trap.port}/v1".replace("\\", "\\\\")
        file = f'providers:\n- name: a\n  endpoints:\n  - {{format: openai_chat, base_url: "{quoted}"}}\n'
        try:
            import_config(file, environ={}, dry_run=True)
            assert host not in refused
        except ConfigError:
            assert host in refused, host
    assert trap.lines == []
    assert {"127.1", "2130706433", "0x7f000001", "user@127.0.0.1", "[::1%25lo]", "127。0。0。1"} <= refused


# Redirects


def locations(trap: Listener) -> tuple[str, ...]:
    return (
        f"{trap.url}/caught", f"//127.0.0.1:{trap.port}/caught", "/v1/caught", "caught?x=1", "",
        "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", f"HTTP://127.1:{trap.port}/",
    )  # fmt: skip


def redirect(status: int, location: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Elsewhere\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    refresh = f"location: {location}\r\nrefresh: 0; url={location}\r\n" if location else ""
    return f"{head}{refresh}\r\n".encode() + body


async def test_no_redirect_is_followed(
    door: str, trap: Listener, record_property: Callable[[str, object], None]
) -> None:
    many, played = count(1, len(ASKS)), 0
    async with house(door, formats=tuple(BASES)) as each:
        for status in STATUSES:
            for location in locations(trap):
                for body in (b"", b'{"choices":[{"message":{"content":"caught"}}]}'):
                    for _ in range(many):
                        ask = ASKS[played % len(ASKS)]
                        await redirected(each, ask, redirect(status, location, body))
                        played += 1
        assert each.vendor.total == played
    assert trap.lines == []
    record_property("measured", f"{door}: {played} redirects, 0 followed")


async def redirected(each: House, ask: Ask, answer: bytes) -> None:
    each.vendor.script(raw=[answer])
    told = await ask.send(each)
    assert told.status_code == 502, told.text
    assert not {"location", "refresh"} & set(told.headers)
    assert error(ask, told.text)["message"]
    assert "caught" not in told.text


def said(answer: Answer, _path: str) -> Answer:
    return answer


@pytest.mark.parametrize("status", STATUSES)
def test_asking_an_endpoint_how_it_is_follows_no_redirect(status: int, trap: Listener) -> None:
    provider = Provider.objects.create(name="acme")
    key = Key(provider=provider, name="k")
    key.set_secret("sk-canary-0123456789abcdef")
    key.save()
    with listening(Listener()) as vendor:
        endpoint = Endpoint.objects.create(
            provider=provider, format="openai_chat", base_url=f"{vendor.url}/v1", allow_private=True
        )
        for number, location in enumerate(locations(trap)):
            answer: Answer = (status, {"location": location} if location else {}, b'{"data":[{"id":"x"}]}')
            vendor.answer = partial(said, answer)
            with pytest.raises(ProbeError):
                probe.fetch_models(endpoint)
            assert len(vendor.lines) == number + 1
    assert trap.lines == []


async def test_a_name_that_moves_to_a_closed_address_is_not_followed(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: judged as open, then answered with another address."""
    moving = Names(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(dialer, "Dialer", partial(dialer.Dialer, lookup=moving.later))

    def prepare(url: str) -> None:
        port = url.rpartition(":")[2]
        for endpoint in Endpoint.objects.all():
            endpoint.base_url = endpoint.base_url.replace(f"127.0.0.1:{port}", f"vendor.test:{port}")
            endpoint.save()

    async with house(door, prepare=prepare) as each:
        each.vendor.script("fault-close-after")
        assert (await WHOLE[0].send(each)).status_code == 200
        each.vendor.script()
        assert (await WHOLE[0].send(each)).status_code == 502
        assert moving.asked == ["vendor.test"] * 2
        assert each.vendor.total == 1
