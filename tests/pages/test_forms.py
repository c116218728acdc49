"""What people fill in: humane fields for what JSON columns hold, and sentences that name the remedy."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from changes.models import Change
from consumers.models import Consumer
from providers.forms import Tiers, TierTable
from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.pages import world
from usage.forms import Lines, MoneyInput, Pairs, plain

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, ""), (Decimal(0), "0"), (Decimal("1.250000000000"), "1.25"), (Decimal("100"), "100"),
        (Decimal("1E+2"), "100"), (Decimal("0.000000000001"), "0.000000000001"), (Decimal("0E-12"), "0"),
    ],
)  # fmt: skip
def test_money_is_written_plainly(amount: Decimal | None, shown: str) -> None:
    assert plain(amount) == shown
    if amount is not None:
        assert MoneyInput().format_value(amount) == shown


def test_lines_are_a_list_and_back() -> None:
    field = Lines(required=False)
    assert field.clean("  fast-latest \n\n quick\n") == ["fast-latest", "quick"]
    assert field.prepare_value(["a", "b"]) == "a\nb"
    assert field.clean("") == []
    assert not field.has_changed(["a"], "a\n")


def test_pairs_are_a_mapping_and_back() -> None:
    field = Pairs(required=False)
    assert field.clean("x-team: blue\nx-url: http://a:1\n") == {"x-team": "blue", "x-url": "http://a:1"}
    assert field.prepare_value({"flex": "0.5"}) == "flex: 0.5"
    with pytest.raises(ValidationError, match="Line 2: write a name, a colon and a value"):
        field.clean("a: 1\nb")
    with pytest.raises(ValidationError, match="stands here twice"):
        field.clean("a: 1\na: 2")


def test_a_table_of_tiers_is_a_list_in_ascending_order() -> None:
    posted = {
        "t-0-up_to": "1000000", "t-0-input": "2.50", "t-1-up_to": " 200000 ", "t-1-input": "1.25",
        "t-2-up_to": "", "t-3-up_to": "", "other-0-up_to": "5",
    }  # fmt: skip
    rows = TierTable().value_from_datadict(posted, {}, "t")
    tiers = [{"up_to": 200_000, "input": "1.25"}, {"up_to": 1_000_000, "input": "2.50"}]
    assert Tiers(required=False).clean(rows) == tiers
    assert not Tiers(required=False).has_changed(tiers, rows)


def management(*prefixes: str) -> dict[str, str]:
    return {f"{each}-{name}_FORMS": "0" for each in prefixes for name in ("TOTAL", "INITIAL")}


def post(client: Client, url: str, data: dict[str, Any]) -> Any:
    answer = client.post(url, data)
    errors = answer.context and answer.context.get("errors")
    return answer if answer.status_code == 302 else str(errors)


MODEL: dict[str, str] = {
    "name": "fast",
    "is_active": "on",
    "conversion": "lenient",
    "context_window": "200000",
    "max_output_tokens": "32000",
}


@pytest.mark.database
def test_a_model_is_saved_with_its_aliases_price_tiers_and_fees(client_of_root: Client) -> None:
    posted = {
        **MODEL, **management("deployments"),
        "aliases": "fast-latest\nquick", "capabilities": ["vision", "tools"],
        "price_input": "0.25", "price_output": "1.5", "price_tiers-0-up_to": "200000",
        "price_tiers-0-input": "0.25", "price_tiers-0-output": "1.5", "price_fees": "web_search: 0.01",
    }  # fmt: skip
    assert post(client_of_root, reverse("admin:providers_model_add"), posted).status_code == 302
    model = Model.objects.get()
    assert model.aliases == ["fast-latest", "quick"]
    assert model.capabilities == ["vision", "tools"]
    assert (model.price_input, model.price_output) == (Decimal("0.25"), Decimal("1.5"))
    assert model.price_tiers == [{"up_to": 200_000, "input": "0.25", "output": "1.5"}]
    assert model.price_fees == {"web_search": "0.01"}
    page = client_of_root.get(world.address(Model, "change", model.pk)).content.decode()
    assert 'value="0.25"' in page
    assert "fast-latest\nquick" in page
    assert Change.objects.filter(kind="model", object_id=str(model.pk)).exists()


def test_a_model_without_a_price_is_saved_with_a_warning(client_of_root: Client) -> None:
    answer = post(
        client_of_root, reverse("admin:providers_model_add"), {**MODEL, **management("deployments")}
    )
    said = [str(message) for message in get_messages(answer.wsgi_request)]
    assert any("recorded as unpriced" in each for each in said)


def test_an_alias_that_belongs_to_another_model_is_refused_by_name(client_of_root: Client) -> None:
    Model.objects.create(name="slow", aliases=["quick"])
    posted = {**MODEL, **management("deployments"), "aliases": "quick"}
    assert "a name of the model “slow” already" in post(
        client_of_root, reverse("admin:providers_model_add"), posted
    )


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("price_fees", "web_search 0.01", "write a name, a colon and a value"),
        ("price_fees", "web_search: cheap", "is no amount"),
        ("price_tiers-0-up_to", "many", "Give each tier “up_to”"),
        ("price_output", "-1", "greater than or equal to 0"),
        ("price_output", "", "Give the output price too"),
        ("name", "a b", "is 1 to 200 letters"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_remedy(
    client_of_root: Client, field: str, value: str, sentence: str
) -> None:
    posted = {**MODEL, **management("deployments"), "price_input": "1", "price_output": "2", field: value}
    assert sentence in post(client_of_root, reverse("admin:providers_model_add"), posted)


PROVIDER = {"name": "acme", "is_active": "on", "priority": "100", "billing": "metered"}


def endpoint(number: int, **columns: str) -> dict[str, str]:
    filled = {"format": "openai_chat", "base_url": "https://api.example.com/v1", "is_active": "on", **columns}
    return {f"endpoints-{number}-{name}": value for name, value in filled.items()}


def key(number: int, **columns: str) -> dict[str, str]:
    filled = {
        "name": f"k{number}",
        "secret": world.CANARY,
        "priority": "100",
        "weight": "1",
        "is_active": "on",
    }
    return {f"keys-{number}-{name}": value for name, value in {**filled, **columns}.items()}


@pytest.mark.database
def test_a_provider_is_added_with_endpoint_and_key_in_one_form(client_of_root: Client) -> None:
    posted = {
        **PROVIDER, **management("endpoints", "keys", "deployments"), **endpoint(0), **key(0),
        "endpoints-TOTAL_FORMS": "1", "keys-TOTAL_FORMS": "1",
    }  # fmt: skip
    assert post(client_of_root, reverse("admin:providers_provider_add"), posted).status_code == 302
    saved = Key.objects.get()
    assert saved.secret() == world.CANARY
    assert saved.hint == world.CANARY[-4:]
    assert Endpoint.objects.get().provider == saved.provider


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({**key(0), **key(1)}, "The same secret stands in two rows"),
        ({**key(0), **key(1, name="k0", secret="sk-other-0123456789")}, "duplicate"),
        (key(0, secret=""), "This field is required"),
        (key(0, secret="with blanks in it"), "without blanks"),
        ({**endpoint(0), **endpoint(1)}, "duplicate"),
        (endpoint(0, base_url="api.example.com"), "Begin the address with https:// or http://"),
        (endpoint(0, base_url="https://u:p@api.example.com"), "Leave out the user name and password"),
    ],
)  # fmt: skip
def test_a_wrong_row_of_a_provider_is_refused_with_the_remedy(
    client_of_root: Client, entries: dict[str, str], sentence: str
) -> None:
    posted = {**PROVIDER, **management("endpoints", "keys", "deployments"), **entries}
    for prefix in ("endpoints", "keys"):
        posted[f"{prefix}-TOTAL_FORMS"] = str(
            len({each.split("-")[1] for each in entries if each.startswith(prefix)})
        )
    assert sentence.lower() in post(client_of_root, reverse("admin:providers_provider_add"), posted).lower()
    assert not Provider.objects.exists()


def key_form(**columns: str) -> dict[str, str]:
    filled = {
        "name": "first",
        "secret": "",
        "is_active": "on",
        "priority": "100",
        "weight": "1",
        "cost_multiplier": "1",
        "affinity_seconds": "300",
    }
    return {**filled, **management("state"), **columns}


def test_an_empty_secret_leaves_the_one_there_is(client_of_root: Client) -> None:
    world.supply()
    saved = Key.objects.get()
    answer = post(
        client_of_root, world.address(Key, "change", saved.pk), key_form(name="renamed", weight="3")
    )
    assert answer.status_code == 302
    saved.refresh_from_db()
    assert (saved.name, saved.weight, saved.secret()) == ("renamed", 3, world.CANARY)


def test_the_very_secret_of_another_key_is_refused(client_of_root: Client) -> None:
    provider = world.supply()
    other = Key(provider=provider, name="second")
    other.set_secret("sk-second-0123456789abcdef")
    other.save()
    url = world.address(Key, "change", other.pk)
    assert "this very key already" in post(client_of_root, url, key_form(name="second", secret=world.CANARY))
    add = reverse("admin:providers_key_add")
    posted = key_form(provider=str(provider.pk), name="third", secret=world.CANARY)
    assert "this very key already" in post(client_of_root, add, posted)
    other.refresh_from_db()
    assert other.secret() == "sk-second-0123456789abcdef"


@pytest.mark.parametrize("model", [Key, Endpoint])
def test_a_row_that_holds_a_secrets_way_stays_with_its_provider(
    client_of_root: Client, model: type[Any]
) -> None:
    world.supply()
    other = Provider.objects.create(name="other")
    row = model.objects.get()
    posted = key_form(provider=str(other.pk)) | {
        "format": "openai_chat",
        "base_url": "https://api.example.com/v1",
        "when_client_leaves": "abort",
    }
    assert post(client_of_root, world.address(model, "change", row.pk), posted).status_code == 302
    row.refresh_from_db()
    assert row.provider.name == "acme"


def test_an_endpoint_inside_is_saved_with_a_warning_until_it_is_allowed(client_of_root: Client) -> None:
    provider = Provider.objects.create(name="acme")
    posted = {
        "provider": provider.pk,
        "format": "gemini",
        "base_url": "http://10.1.2.3:8000",
        "when_client_leaves": "abort",
        "is_active": "on",
    }
    answer = post(client_of_root, reverse("admin:providers_endpoint_add"), posted)
    assert any("private address" in str(each) for each in get_messages(answer.wsgi_request))
    client_of_root.get(reverse("admin:index"))  # which shows what was said
    saved = Endpoint.objects.get()
    change = world.address(Endpoint, "change", saved.pk)
    answer = post(
        client_of_root, change, {**posted, **management("state"), "allow_private": "on", "headers": "x-a: b"}
    )
    assert not any("private address" in str(each) for each in get_messages(answer.wsgi_request))
    saved.refresh_from_db()
    assert saved.headers == {"x-a": "b"}


CONSUMER = {
    "name": "alice",
    "is_active": "on",
    "time_zone": "Europe/Berlin",
    **management("api_keys", "memberships"),
}


def test_a_consumers_lists_are_picked_by_name_and_kept_as_ids(client_of_root: Client) -> None:
    provider = world.supply()
    model = Model.objects.get()
    posted = {
        **CONSUMER, "allowed_models": [str(model.pk)], "allowed_providers": [str(provider.pk)],
        "allowed_formats": ["gemini"], "allowed_networks": "10.0.0.0/8\n2001:db8::/32",
    }  # fmt: skip
    assert post(client_of_root, reverse("admin:consumers_consumer_add"), posted).status_code == 302
    saved = Consumer.objects.get()
    assert saved.allowed_models == [model.pk]
    assert saved.allowed_providers == [provider.pk]
    assert saved.allowed_formats == ["gemini"]
    assert saved.allowed_networks == ["10.0.0.0/8", "2001:db8::/32"]
    page = client_of_root.get(world.address(Consumer, "change", saved.pk)).content.decode()
    assert re.search(rf'<option value="{model.pk}" selected[^>]*>{model.name}</option>', page)


def test_a_deleted_model_stays_in_the_list_that_names_it(client_of_root: Client) -> None:
    saved = Consumer.objects.create(name="alice", allowed_models=[404])
    url = world.address(Consumer, "change", saved.pk)
    assert "number 404, deleted" in client_of_root.get(url).content.decode()
    assert post(client_of_root, url, {**CONSUMER, "allowed_models": ["404"]}).status_code == 302
    saved.refresh_from_db()
    assert saved.allowed_models == [404]
    assert "There is no model with the number 405" in post(
        client_of_root, url, {**CONSUMER, "allowed_models": ["405"]}
    )


def test_a_wrong_network_is_refused(client_of_root: Client) -> None:
    posted = {**CONSUMER, "allowed_networks": "the office"}
    assert "is no network" in post(client_of_root, reverse("admin:consumers_consumer_add"), posted)


def test_the_names_to_pick_from_come_in_pages(client_of_root: Client) -> None:
    for number in range(25):
        Model.objects.create(name=f"m-{number:02d}")
    url = reverse("admin:providers_model_pick")
    first, second = client_of_root.get(url).json(), client_of_root.get(url, {"page": "2"}).json()
    assert (len(first["results"]), first["pagination"]["more"]) == (20, True)
    assert (len(second["results"]), second["pagination"]["more"]) == (5, False)
    assert [each["text"] for each in client_of_root.get(url, {"q": "m-07"}).json()["results"]] == ["m-07"]


def test_a_deployment_twice_is_refused(client_of_root: Client) -> None:
    world.supply()
    there = Deployment.objects.get()
    posted = {"model": there.model_id, "provider": there.provider_id, "upstream_name": there.upstream_name}
    assert "serves the model under that name already" in post(
        client_of_root, reverse("admin:providers_deployment_add"), posted
    )
