"""The model lists: what this API key may call, in three shapes."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey, Consumer
from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.relay.asks import Ask, error
from tests.relay.harness import House, house
from tests.relay.test_doors import sent

pytestmark = pytest.mark.django_db(transaction=True)


def more_models(url: str) -> None:
    vendor = Provider.objects.get(name="vendor")
    for name in ("beta/two", "gamma"):
        model = Model.objects.create(name=name, aliases=[f"{name}-latest"], price_input=1, price_output=1)
        Deployment.objects.create(model=model, provider=vendor, upstream_name="sim")
    Model.objects.create(name="nobody-serves-it", price_input=1, price_output=1)
    Model.objects.create(name="switched-off", price_input=1, price_output=1, is_active=False)
    other = Provider.objects.create(name="claude-only", priority=500)
    Endpoint.objects.create(provider=other, format="anthropic", base_url=url, allow_private=True)
    key = Key(provider=other, name="k")
    key.set_secret("sk-other-0123456789")
    key.save()
    model = Model.objects.create(
        name="claude", price_input=1, price_output=1, context_window=1000, conversion="off"
    )
    Deployment.objects.create(model=model, provider=other, upstream_name="sim")


ALL = ["beta/two", "claude", "gamma", "sim"]


async def names(each: House, secret: str) -> list[str]:
    answer = await sent(each, "GET", "/v1/models", {"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    return [model["id"] for model in answer.json()["data"]]


async def test_the_shape_follows_the_headers_and_the_path(door: str) -> None:
    async with house(door, prepare=more_models) as each:
        bearer = {"authorization": f"Bearer {each.secret}"}
        openai = (await sent(each, "GET", "/v1/models", bearer)).json()
        assert openai["object"] == "list"
        assert [model["id"] for model in openai["data"]] == ALL
        assert set(openai["data"][0]) == {"id", "object", "created", "owned_by"}

        anthropic = (
            await sent(each, "GET", "/v1/models", {**bearer, "anthropic-version": "2023-06-01"})
        ).json()
        assert [model["id"] for model in anthropic["data"]] == ALL
        assert (anthropic["has_more"], anthropic["first_id"], anthropic["last_id"]) == (
            False,
            ALL[0],
            ALL[-1],
        )
        assert set(anthropic["data"][0]) == {
            "type", "id", "display_name", "created_at", "lifecycle", "max_input_tokens", "max_tokens",
        }  # fmt: skip

        for path, headers in (
            ("/v1beta/models", bearer),
            (f"/v1beta/models?key={each.secret}", {}),
            ("/v1beta/models", {"x-goog-api-key": each.secret}),
            ("/v1/models", {"x-goog-api-key": each.secret}),
        ):
            gemini = (await sent(each, "GET", path, headers)).json()
            assert [model["name"] for model in gemini["models"]] == [f"models/{name}" for name in ALL]
            assert gemini["models"][1]["inputTokenLimit"] == 1000
        assert each.journal() == []
        assert each.vendor.total == 0


async def test_one_model_is_found_by_name_and_by_alias(door: str) -> None:
    async with house(door, prepare=more_models) as each:
        bearer = {"authorization": f"Bearer {each.secret}"}
        for asked in ("beta/two", "beta/two-latest"):
            answer = await sent(each, "GET", f"/v1/models/{asked}", bearer)
            assert answer.json()["id"] == "beta/two"
        one = await sent(each, "GET", "/v1/models/gamma", {**bearer, "anthropic-version": "2023-06-01"})
        assert one.json()["type"] == "model"
        one = await sent(each, "GET", "/v1beta/models/gamma", {"x-goog-api-key": each.secret})
        assert one.json()["name"] == "models/gamma"


async def test_a_model_that_is_not_listed_is_404_in_the_same_shape(door: str) -> None:
    async with house(door, prepare=more_models) as each:
        for name in ("unknown", "nobody-serves-it", "switched-off"):
            for form, path, headers in (
                ("openai_chat", "/v1/models/", {"authorization": f"Bearer {each.secret}"}),
                ("anthropic", "/v1/models/", {"x-api-key": each.secret, "anthropic-version": "1"}),
                ("gemini", "/v1beta/models/", {"x-goog-api-key": each.secret}),
            ):
                answer = await sent(each, "GET", path + name, headers)
                assert answer.status_code == 404
                assert error(Ask(form), answer.text)["message"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"allowed_models": ["gamma"]}, ["gamma"]),
        ({"allowed_formats": ["anthropic"]}, ALL),
        ({"allowed_formats": ["gemini"]}, ["beta/two", "gamma", "sim"]),
        ({"allowed_providers": ["claude-only"]}, ["claude"]),
        ({"allowed_providers": ["claude-only"], "allowed_formats": ["gemini"]}, []),
        ({"allowed_models": ["claude", "sim"], "allowed_providers": ["vendor"]}, ["sim"]),
    ],
)
async def test_only_what_the_key_may_call_is_listed(
    door: str, fields: dict[str, list[str]], expected: list[str]
) -> None:
    async with house(door, prepare=more_models) as each:

        def issue() -> str:
            ids: dict[str, Any] = {**fields}
            if "allowed_models" in ids:
                ids["allowed_models"] = [Model.objects.get(name=name).pk for name in ids["allowed_models"]]
            if "allowed_providers" in ids:
                wanted = ids["allowed_providers"]
                ids["allowed_providers"] = [Provider.objects.get(name=name).pk for name in wanted]
            return ApiKey.issue(consumer=Consumer.objects.get(name="alice"), name="narrow", **ids)[1]

        secret = await sync_to_async(issue)()
        assert await names(each, secret) == expected
        for name in set(ALL) - set(expected):
            answer = await sent(each, "GET", f"/v1/models/{name}", {"authorization": f"Bearer {secret}"})
            assert answer.status_code == 404


async def test_what_is_listed_can_be_called(door: str) -> None:
    async with house(door, prepare=more_models) as each:
        for name in await names(each, each.secret):
            answers = {
                form: (await Ask(form).send(each, model=name)).status_code
                for form in ("openai_chat", "anthropic")
            }
            assert 200 in answers.values(), name


async def test_a_change_in_the_tables_is_listed_once_the_catalog_follows(door: str) -> None:
    async with house(door, prepare=more_models) as each:
        assert "gamma" in await names(each, each.secret)

        def switch_off() -> None:
            row = Model.objects.get(name="gamma")
            row.is_active = False
            row.save()

        await sync_to_async(switch_off)()
        await each.engine._follow()
        assert "gamma" not in await names(each, each.secret)
