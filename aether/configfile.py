"""Brings a configuration file into the tables, in one transaction.

The file is the truth for the rows that it names: a field that does not stand there takes its default. Rows
that it does not name stay as they are; `prune` switches them off, in those lists that stand in the file. A
secret that does not stand there stays. What is equal is not written, so that a second run leaves no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model as Table, QuerySet
from django.utils.translation import gettext as _

from aether.configread import ConfigError, Problem, Problems, Row, read_config
from changes.models import Versioned
from consumers.digest import SECRET, digest as api_key_digest
from consumers.models import ApiKey, Consumer, new_secret
from providers import secrets
from providers.catalog import ids
from providers.checks import PRICES, check_secret
from providers.failurerules import FailureRule
from providers.models import Deployment, Endpoint, Key, Model, Provider

__all__ = ["ConfigError", "Difference", "Generated", "Problem", "Result", "import_config"]

DELETED = "(deleted)"
"""Stands in an allow-list for a row that is gone: it allows nothing, and keeps the list from allowing
everything."""
NOBODY = 0
"""The id that stands for it where it is imported anew."""
DOTS = "••••"

# Field of the file -> column.
PROVIDER = {each: each for each in ("is_active", "priority", "billing", "website")}
ENDPOINT = {
    each: each
    for each in (
        "base_url", "is_active", "allow_private", "credential_style", "headers", "proxy", "quirks",
        "probe_seconds", "when_client_leaves",
    )
}  # fmt: skip
TIMEOUTS = {each: f"{each}_timeout" for each in ("connect", "first_byte", "first_event", "idle", "total")}
KEY = {
    each: each
    for each in (
        "is_active", "priority", "weight", "cost_multiplier", "capabilities", "exclusive", "affinity_seconds",
    )
} | {"endpoints": "formats"}  # fmt: skip
DEPLOYMENT = {"is_active": "is_active", "endpoints": "formats", "capabilities": "capabilities"}
MODEL = {
    each: each
    for each in (
        "aliases", "is_active", "capabilities", "allowed_formats", "routing_mode", "conversion",
        "context_window", "max_output_tokens",
    )
}  # fmt: skip
FAILURE_RULE = {
    each: each for each in ("order", "is_active", "format", "status", "error_type", "text", "verdict")
}
LIMITS = {"concurrency": "concurrency_limit"}
PRICE = (*PRICES, "request", "tiers", "fees", "tier_factors")
ACCESS = {each: each for each in ("is_active", "allowed_formats", "allowed_networks")}
CONSUMER = ACCESS | {"time_zone": "time_zone"}
API_KEY = ACCESS | {each: each for each in ("expires_at", "failover", "finish_streams", "recording")}
FIELD_OF = (
    {"formats": "endpoints", "sealed": "secret", "secret_digest": "secret", "digest": "secret"}
    | dict.fromkeys(TIMEOUTS.values(), "timeouts")
    | {f"price_{each}": "price" for each in PRICE}
    | dict.fromkeys(LIMITS.values(), "limits")
)
"""Column -> field of the file, where they differ."""

LISTED: Mapping[str, type[Table]] = {"allowed_models": Model, "allowed_providers": Provider}
"""Columns that are lists of ids, and of what."""

K = TypeVar("K")
R = TypeVar("R", bound=Table)


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that the import made, changed or switched off. `fields` are columns with their value before and
    after; secrets are shown as dots."""

    action: str
    kind: str
    name: str
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generated:
    """The secret of an API key that the import made: to be shown once."""

    consumer: str
    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    differences: tuple[Difference, ...]
    generated: tuple[Generated, ...]


def import_config(
    content: str | bytes, *, environ: Mapping[str, str], prune: bool = False, dry_run: bool = False
) -> Result:
    """Brings the file's `content` into the tables and tells what differed; `environ` is where `secret_env`
    looks. A dry run tells the same and leaves everything as it was. Raises ConfigError, nothing being
    changed then."""
    file = read_config(content)
    with transaction.atomic():
        run = _Import(environ, prune)
        run.models(file.get("models"))
        run.providers(file.get("providers"))
        run.consumers(file.get("consumers"))
        run.failure_rules(file.get("failure_rules"))
        run.problems.stop()
        if dry_run:
            transaction.set_rollback(True)
    return Result(tuple(run.differences), () if dry_run else tuple(run.generated))


class _Import:
    """One run."""

    def __init__(self, environ: Mapping[str, str], prune: bool) -> None:
        self.environ = environ
        self.prune = prune
        self.problems = Problems()
        self.differences: list[Difference] = []
        self.generated: list[Generated] = []
        self.ids: dict[type[Table], dict[str, int]] = {}

    # What the file lists

    def models(self, rows: Sequence[Row] | None) -> None:
        known = {each.name: each for each in Model.objects.all()}
        wanted = self.by_name(rows)
        for name, row in wanted.items():
            # Names that move between models are given up first, or the taker would clash with the giver.
            if model := known.get(name):
                kept = [each for each in model.aliases if each in (row.get("aliases") or ())]
                if kept != model.aliases:
                    Model.objects.filter(pk=model.pk).update(aliases=kept)
        for name, row in wanted.items():
            model = known.get(name) or Model(name=name)
            self.settle(model, row, columns(row, Model, MODEL) | price_columns(row, Model))
        self.retire(rows, Model.objects.exclude(name__in=wanted))

    def providers(self, rows: Sequence[Row] | None) -> None:
        known = {each.name: each for each in Provider.objects.all()}
        wanted = self.by_name(rows)
        for name, row in wanted.items():
            provider = known.get(name) or Provider(name=name)
            if self.settle(provider, row, columns(row, Provider, PROVIDER) | limit_columns(row, Provider)):
                self.endpoints(provider, row.get("endpoints"))
                self.keys(provider, row.get("keys"))
                self.deployments(provider, row.get("models"))
        self.retire(rows, Provider.objects.exclude(name__in=wanted))

    def endpoints(self, provider: Provider, rows: Sequence[Row] | None) -> None:
        known = {each.format: each for each in provider.endpoints.all()}
        wanted = self.once(rows, lambda row: str(row.get("format")))
        for wire_format, row in wanted.items():
            endpoint = known.get(wire_format) or Endpoint(provider=provider, format=wire_format)
            given = row.get("timeouts") or Row(row.line)
            timeouts = {column: given.get(name) for name, column in TIMEOUTS.items()}
            limits = limit_columns(row, Endpoint)
            self.settle(endpoint, row, columns(row, Endpoint, ENDPOINT) | timeouts | limits)
        self.retire(rows, provider.endpoints.exclude(format__in=wanted))

    def keys(self, provider: Provider, rows: Sequence[Row] | None) -> None:
        wanted = self.by_name(rows)
        given = self.secrets(wanted, check_secret)
        digests = {name: secrets.digest(secret) if secret else "" for name, secret in given.items()}
        matched = match(provider.keys.all(), digests, lambda key: key.secret_digest)
        for name, key in matched.items():
            # Two keys may exchange their secrets: each steps out of the other's way first.
            if digests[name] not in ("", key.secret_digest) and key.secret_digest in digests.values():
                Key.objects.filter(pk=key.pk).update(secret_digest=key.seal_id.hex)
        for name, secret in given.items():
            row, known = wanted[name], matched.get(name)
            if known is None and not secret:
                self.refuse(row, "name", _("this key is new here: give its secret, or secret_env."))
                continue
            key = known or Key(provider=provider, name=name)
            changed = digests[name] not in ("", key.secret_digest)
            if changed:
                key.set_secret(secret)
            desired = {"name": name} | columns(row, Key, KEY) | self.allowed(key, row, "allowed_models")
            desired |= limit_columns(row, Key)
            self.settle(key, row, desired, secret=changed)
        self.retire(rows, provider.keys.exclude(name__in=wanted))

    def deployments(self, provider: Provider, rows: Sequence[Row] | None) -> None:
        known = {
            (each.model.name, each.upstream_name): each
            for each in provider.deployments.select_related("model")
        }
        models = {each.name: each for each in Model.objects.all()}
        wanted = self.once(rows, lambda row: (str(row.get("model")), str(row.get("upstream_name"))))
        for place, row in wanted.items():
            model = models.get(place[0])
            if model is None:
                told = _("there is no model “%(name)s”: add it to the list of models.") % {"name": place[0]}
                self.refuse(row, "model", told)
                continue
            deployment = known.get(place) or Deployment(
                provider=provider, model=model, upstream_name=place[1]
            )
            self.settle(
                deployment, row, columns(row, Deployment, DEPLOYMENT) | price_columns(row, Deployment)
            )
        gone = [each.pk for place, each in known.items() if place not in wanted]
        self.retire(rows, Deployment.objects.filter(pk__in=gone))

    def consumers(self, rows: Sequence[Row] | None) -> None:
        known = {each.name: each for each in Consumer.objects.all()}
        wanted = self.by_name(rows)
        self.secrets(
            {
                f"{name} / {each.get('name')}": each
                for name, row in wanted.items()
                for each in row.get("api_keys") or ()
            },
            check_api_key,
        )
        self.problems.stop()  # an API key's secret is unique in the whole file, not in its list alone
        for name, row in wanted.items():
            consumer = known.get(name) or Consumer(name=name)
            allowed = self.allowed(consumer, row, *LISTED)
            if self.settle(consumer, row, columns(row, Consumer, CONSUMER) | allowed):
                self.api_keys(consumer, row.get("api_keys"))
        self.retire(rows, Consumer.objects.exclude(name__in=wanted))

    def api_keys(self, consumer: Consumer, rows: Sequence[Row] | None) -> None:
        wanted = self.by_name(rows)
        given = self.secrets(wanted, check_api_key)
        digests = {name: api_key_digest(secret) if secret else "" for name, secret in given.items()}
        matched = match(consumer.api_keys.all(), digests, lambda api_key: api_key.digest)
        for name, secret in given.items():
            row, api_key = wanted[name], matched.get(name) or ApiKey(consumer=consumer, name=name)
            if secret and ApiKey.objects.filter(digest=digests[name]).exclude(pk=api_key.pk).exists():
                told = _("this secret belongs to another API key: give each its own.")
                self.refuse(row, "secret", told)
                continue
            fresh = "" if secret or name in matched else new_secret()
            if fresh:
                self.generated.append(Generated(consumer.name, name, fresh))
            changed = bool(fresh) or digests[name] not in ("", api_key.digest)
            if changed:
                api_key.set_secret(fresh or secret)
            allowed = self.allowed(api_key, row, *LISTED)
            desired = {"name": name} | columns(row, ApiKey, API_KEY) | allowed | limit_columns(row, ApiKey)
            self.settle(api_key, row, desired, secret=changed)
        self.retire(rows, consumer.api_keys.exclude(name__in=wanted))

    def failure_rules(self, rows: Sequence[Row] | None) -> None:
        known = {each.name: each for each in FailureRule.objects.all()}
        providers = {each.name: each for each in Provider.objects.all()}
        wanted = self.by_name(rows)
        settled = []
        for name, row in wanted.items():
            provider = row.get("provider")
            if provider and provider not in providers:
                told = _("there is no “%(name)s”: correct the name.") % {"name": provider}
                self.refuse(row, "provider", told)
                continue
            rule = known.get(name) or FailureRule(name=name)
            desired = {"provider": providers.get(provider)} | columns(row, FailureRule, FAILURE_RULE)
            if self.settle(rule, row, desired):
                settled.append((rule, row))
        self.retire(rows, FailureRule.objects.exclude(name__in=wanted))
        for rule, row in settled:  # once all have their places
            try:
                rule.check_place()
            except ValidationError as error:
                self.refuse(row, "name", error.messages[0])

    # How a row is brought in

    def settle(
        self, instance: Versioned, row: Row, desired: Mapping[str, Any], *, secret: bool = False
    ) -> bool:
        """Brings a row to what is desired, and notes the difference; where nothing differs, nothing is
        written. False where it is refused."""
        created = instance._state.adding
        fields: dict[str, tuple[Any, Any]] = {}
        for column, value in desired.items():
            before = getattr(instance, column)
            if before != value:
                fields[column] = (None if created else self.named(column, before), self.named(column, value))
                setattr(instance, column, value)
        if secret:
            fields["secret"] = (None if created else DOTS, DOTS)
        if not created and not fields:
            return True
        try:
            instance.full_clean()
        except ValidationError as error:
            for column, errors in error.error_dict.items():
                for each in errors:
                    self.refuse(row, FIELD_OF.get(column, column), words(instance, column, each))
            return False
        instance.save()
        self.differences.append(
            Difference("create" if created else "change", kind(instance), label(instance), fields)
        )
        return True

    def retire(self, rows: Sequence[Row] | None, others: QuerySet[Any]) -> None:
        """Switches off the rows that a list of the file does not name, if asked to. A list that does not
        stand there says nothing."""
        if not self.prune or rows is None:
            return
        live = list(others.filter(is_active=True))
        type_ = others.model
        type_._default_manager.filter(pk__in=[each.pk for each in live]).update(is_active=False)
        self.differences += [
            Difference("switch off", kind(each), label(each), {"is_active": (True, False)}) for each in live
        ]

    def allowed(self, instance: Table, row: Row, *lists: str) -> dict[str, list[int]]:
        """Allow-lists by name as lists of ids. One that means the same as the row's own is the row's own."""
        found: dict[str, list[int]] = {}
        for column in lists:
            type_ = LISTED[column]
            if type_ not in self.ids:
                self.ids[type_] = dict(type_._default_manager.values_list("name", "pk"))
            known = self.ids[type_]
            wanted: list[int] = []
            for name in row.get(column) or ():
                if name != DELETED and name not in known:
                    self.refuse(row, column, _("there is no “%(name)s”: correct the name.") % {"name": name})
                wanted.append(known.get(name, NOBODY))
            before = getattr(instance, column)
            present = set(known.values())
            same = {each if each in present else NOBODY for each in ids(before) or ()} == set(wanted)
            found[column] = before if same and bool(before) == bool(wanted) else wanted
        return found

    def named(self, column: str, value: Any) -> Any:
        """An allow-list of ids by name; any other value as it is."""
        type_ = LISTED.get(column)
        if type_ is None:
            return str(value) if isinstance(value, Table) else value
        names = {pk: name for name, pk in self.ids[type_].items()}
        return [names.get(each, DELETED) for each in value]

    def secrets(self, wanted: Mapping[str, Row], check: Callable[[str], None]) -> dict[str, str]:
        """The secrets that the rows give, empty where one gives none; a row that is refused is not among
        them. Each secret may stand there once."""
        found: dict[str, str] = {}
        for name, row in wanted.items():
            secret, variable = row.get("secret"), row.get("secret_env")
            if secret is not None and variable is not None:
                self.refuse(row, "secret_env", _("give secret or secret_env, not both."))
                continue
            if variable is not None:
                secret = self.environ.get(variable)
                if not secret:
                    told = _("the environment variable %(name)s is not set: set it.") % {"name": variable}
                    self.refuse(row, "secret_env", told)
                    continue
            if secret is None:
                found[name] = ""
                continue
            where = "secret" if variable is None else "secret_env"
            try:
                check(secret)
            except ValidationError as error:
                self.refuse(row, where, error.messages[0])
                continue
            if secret in found.values():
                self.refuse(row, where, _("this secret stands here twice: keep one."))
                continue
            found[name] = secret
        return found

    def by_name(self, rows: Sequence[Row] | None) -> dict[str, Row]:
        return self.once(rows, lambda row: str(row.get("name")))

    def once(self, rows: Sequence[Row] | None, key: Callable[[Row], K]) -> dict[K, Row]:
        """Rows by what they are known by; a second one of a kind is refused."""
        found: dict[K, Row] = {}
        for row in rows or ():
            if (known := found.setdefault(key(row), row)) is not row:
                told = _("this stands in line %(line)s already: keep one.") % {"line": known.line}
                self.problems.note(row.line, told)
        return found

    def refuse(self, row: Row, name: str, text: str) -> None:
        prefix = f"{name}: " if name in row.lines else ""
        self.problems.note(row.line_of(name), f"{prefix}{text}")


def columns(row: Row, type_: type[Table], names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of `names` (field of the file -> column) as the row gives them, else their defaults."""
    return {
        column: row.values[name] if name in row.values else default(type_, column)
        for name, column in names.items()
    }


def limit_columns(row: Row, type_: type[Table]) -> dict[str, Any]:
    """The columns of the row's limits; without any, empty ones."""
    return columns(row.get("limits") or Row(row.line), type_, LIMITS)


def price_columns(row: Row, type_: type[Table]) -> dict[str, Any]:
    """The columns of the row's price; without one, empty ones."""
    given = row.get("price") or Row(row.line)
    return columns(given, type_, {each: f"price_{each}" for each in PRICE})


def default(type_: type[Table], column: str) -> Any:
    field: Any = type_._meta.get_field(column)
    return field.get_default()


def match(rows: Iterable[R], digests: Mapping[str, str], digest_of: Callable[[R], str]) -> dict[str, R]:
    """The rows that the file means: those of the same name; then, for a name that is new, the row that
    holds the same secret under a name that the file does not know."""
    by_name = {str(getattr(each, "name", "")): each for each in rows}
    found = {name: by_name[name] for name in digests if name in by_name}
    renamed = {digest_of(each): each for name, each in by_name.items() if name not in digests}
    for name, digest in digests.items():
        if name not in found and digest in renamed:
            found[name] = renamed.pop(digest)
    return found


def check_api_key(secret: str) -> None:
    if not SECRET.fullmatch(secret):
        raise ValidationError(_("an API key is 20 to 200 letters, digits, “-” or “_”."))


def words(instance: Table, column: str, error: ValidationError) -> str:
    """What is said about a refused column, with the choices there are."""
    if error.code == "invalid_choice":
        field: Any = instance._meta.get_field(column)
        return _("choose from %(choices)s.") % {
            "choices": ", ".join(str(value) for value, _label in field.choices if value)
        }
    return " ".join(error.messages)


def kind(instance: Table) -> str:
    names: dict[type[Table], str] = {ApiKey: "api_key", FailureRule: "failure_rule"}
    return names.get(type(instance)) or str(instance._meta.model_name)


def label(instance: Any) -> str:
    """What a row is known by in the file."""
    if isinstance(instance, Endpoint):
        return f"{instance.provider.name} / {instance.format}"
    if isinstance(instance, Key):
        return f"{instance.provider.name} / {instance.name}"
    if isinstance(instance, Deployment):
        return f"{instance.provider.name} / {instance.model.name} / {instance.upstream_name}"
    if isinstance(instance, ApiKey):
        return f"{instance.consumer.name} / {instance.name}"
    return str(instance.name)
