"""Reads a configuration file: YAML in, rows of plain values out, each with the line it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from providers.checks import PRICES, check_amount

GREATEST_BYTES = 8_000_000
Reader = Callable[["Problems", yaml.Node], Any]
"""Node -> value. Raises Refused for what it cannot be; a reader of several things notes its problems
instead."""
NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, on which line (from 1; 0: the file as a whole), with its remedy. Holds no secret."""

    line: int
    text: str


class ConfigError(Exception):
    """The file cannot be taken as it is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"line {each.line}: {each.text}" for each in problems))
        self.problems = tuple(problems)


class Refused(Exception):
    """One value cannot be read. The message is a sentence for people."""


@dataclass(slots=True)
class Problems:
    """Everything found wrong so far, so that one run tells it all."""

    found: list[Problem] = field(default_factory=list)

    def note(self, line: int, text: str) -> None:
        self.found.append(Problem(line, text))

    def stop(self) -> None:
        """Raises ConfigError where anything was noted."""
        if self.found:
            raise ConfigError(sorted(self.found, key=lambda each: each.line))


@dataclass(slots=True)
class Row:
    """One mapping of the file: the fields that stand there, and their lines."""

    line: int
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """The field's value; None where it does not stand there."""
        return self.values.get(name)

    def line_of(self, name: str) -> int:
        return self.lines.get(name, self.line)


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


# Single values ----------------------------------------------------------------------------------------------


def text(problems: Problems, node: yaml.Node) -> str:
    """Any scalar, by its letters: a name such as 007 or on stays what it is."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == NULL:
        raise Refused(_("give a text"))
    return str(node.value)


def optional_text(problems: Problems, node: yaml.Node) -> str:
    """As `text`; null and nothing are the empty text."""
    return "" if node.tag == NULL else text(problems, node)


def switch(problems: Problems, node: yaml.Node) -> bool:
    if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(":bool"):
        raise Refused(_("give true or false"))
    return node.value.lower() in {"true", "yes", "on"}


def whole(problems: Problems, node: yaml.Node) -> int:
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int"):
        digits = node.value.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and len(digits) < 19:
            return int(node.value)
    raise Refused(_("give a whole number"))


def optional_whole(problems: Problems, node: yaml.Node) -> int | None:
    return None if node.tag == NULL else whole(problems, node)


def seconds(problems: Problems, node: yaml.Node) -> float | None:
    if node.tag == NULL:
        return None
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float")):
        try:
            return float(node.value)
        except ValueError:
            pass
    raise Refused(_("give a number of seconds"))


def amount(problems: Problems, node: yaml.Node) -> Decimal | None:
    """A decimal by its letters, quoted or not: 1.10 is exact either way."""
    return None if node.tag == NULL else Decimal(amount_text(problems, node))


def amount_text(problems: Problems, node: yaml.Node) -> str:
    given = text(problems, node)
    try:
        check_amount(given)
    except ValidationError as error:
        raise Refused(error.messages[0]) from None
    return given


def instant(problems: Problems, node: yaml.Node) -> datetime | None:
    """An ISO 8601 instant; without a zone, UTC."""
    if node.tag == NULL:
        return None
    try:
        found = parse_datetime(text(problems, node))
    except ValueError:
        found = None
    if found is None:
        raise Refused(_("give an instant such as 2027-01-31T12:00:00Z"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# Several values ---------------------------------------------------------------------------------------------


def listed(problems: Problems, node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise Refused(_("give a list"))
    return list(node.value)


def texts(problems: Problems, node: yaml.Node) -> list[str]:
    return [text(problems, each) for each in listed(problems, node)]


def pairs(problems: Problems, node: yaml.Node) -> dict[str, yaml.Node]:
    """A mapping with its values unread. Names that stand there twice are noted."""
    if not isinstance(node, yaml.MappingNode):
        raise Refused(_("give a mapping of names to values"))
    found: dict[str, yaml.Node] = {}
    for name, value in node.value:
        key = text(problems, name)
        if key in found:
            problems.note(line_of(name), _("“%(name)s” stands here twice: keep one.") % {"name": key})
        found[key] = value
    return found


def mapping(read: Callable[[Problems, yaml.Node], str]) -> Reader:
    """A mapping whose values are all read by `read`."""
    return lambda problems, node: {name: read(problems, each) for name, each in pairs(problems, node).items()}


def tiers(problems: Problems, node: yaml.Node) -> list[dict[str, Any]]:
    """Price tiers as a price column holds them."""
    schema: dict[str, Reader] = {"up_to": whole, **dict.fromkeys(PRICES, amount_text)}
    return [row(schema)(problems, each).values for each in listed(problems, node)]


def row(schema: Mapping[str, Reader], *, needs: Sequence[str] = (), later: Sequence[str] = ()) -> Reader:
    """A mapping with the fields of `schema`. Fields that are unknown, or that belong to work to come
    (`later`), are noted by name and line, and so are those of `needs` that are missing."""

    def read(problems: Problems, node: yaml.Node) -> Row:
        found = Row(line_of(node))
        for name, value in pairs(problems, node).items():
            found.lines[name] = line_of(value)
            if name in later:
                problems.note(
                    line_of(value), _("“%(name)s” is not enforced yet: leave it out.") % {"name": name}
                )
            elif name not in schema:
                problems.note(line_of(value), unknown(name, schema))
            else:
                try:
                    found.values[name] = schema[name](problems, value)
                except Refused as error:
                    problems.note(line_of(value), f"{name}: {error}")
        for name in needs:
            if name not in found.lines:
                problems.note(found.line, _("“%(name)s” is missing: give it.") % {"name": name})
        return found

    return read


def unknown(name: str, schema: Mapping[str, Reader]) -> str:
    """What is said about a field that the schema does not know."""
    close = get_close_matches(name, schema, n=1)
    if close:
        return _("unknown field “%(name)s”: did you mean “%(close)s”?") % {"name": name, "close": close[0]}
    return _("unknown field “%(name)s”: take it out; known here are %(known)s.") % {
        "name": name,
        "known": ", ".join(schema),
    }


def rows(read: Reader) -> Reader:
    """A list of rows; each that cannot be read is noted. Nothing after the colon is the empty list."""

    def read_all(problems: Problems, node: yaml.Node) -> list[Row]:
        found: list[Row] = []
        for each in [] if node.tag == NULL else listed(problems, node):
            try:
                found.append(read(problems, each))
            except Refused as error:
                problems.note(line_of(each), str(error))
        return found

    return read_all


# The shape of the file --------------------------------------------------------------------------------------

LATER = ("budgets", "balance", "model_limits", "monthly_quota", "max_cost")
LIMITS = ("limits", *LATER)
"""Fields of the work that enforces them."""
CONCURRENCY = row({"concurrency": optional_whole}, later=("rpm", "tpm"))

PRICE = row(
    {
        **dict.fromkeys((*PRICES, "request"), amount),
        "tiers": tiers,
        "fees": mapping(amount_text),
        "tier_factors": mapping(amount_text),
    }
)
SECRET: Mapping[str, Reader] = {"secret": text, "secret_env": text}
ENDPOINT = row(
    {
        "format": text,
        "base_url": text,
        "is_active": switch,
        "allow_private": switch,
        "credential_style": optional_text,
        "headers": mapping(text),
        "proxy": optional_text,
        "quirks": texts,
        "probe_seconds": seconds,
        "when_client_leaves": text,
        "timeouts": row(dict.fromkeys(("connect", "first_byte", "first_event", "idle", "total"), seconds)),
        "limits": CONCURRENCY,
    },
    needs=("format", "base_url"),
    later=LATER,
)
KEY = row(
    {
        "name": text,
        **SECRET,
        "hint": optional_text,
        "is_active": switch,
        "priority": whole,
        "weight": whole,
        "cost_multiplier": amount,
        "endpoints": texts,
        "allowed_models": texts,
        "capabilities": texts,
        "exclusive": switch,
        "affinity_seconds": whole,
        "limits": CONCURRENCY,
    },
    needs=("name",),
    later=LATER,
)
DEPLOYMENT = row(
    {
        "model": text,
        "upstream_name": text,
        "is_active": switch,
        "endpoints": texts,
        "capabilities": texts,
        "price": PRICE,
    },
    needs=("model", "upstream_name"),
    later=LIMITS,
)
PROVIDER = row(
    {
        "name": text,
        "is_active": switch,
        "priority": whole,
        "billing": text,
        "website": optional_text,
        "limits": CONCURRENCY,
        "endpoints": rows(ENDPOINT),
        "keys": rows(KEY),
        "models": rows(DEPLOYMENT),
    },
    needs=("name",),
    later=LATER,
)
MODEL = row(
    {
        "name": text,
        "aliases": texts,
        "is_active": switch,
        "price": PRICE,
        "capabilities": texts,
        "allowed_formats": texts,
        "routing_mode": optional_text,
        "conversion": text,
        "context_window": whole,
        "max_output_tokens": whole,
    },
    needs=("name",),
    later=LIMITS,
)
ACCESS: Mapping[str, Reader] = {
    "is_active": switch,
    "allowed_models": texts,
    "allowed_providers": texts,
    "allowed_formats": texts,
    "allowed_networks": texts,
}
API_KEY = row(
    {
        "name": text,
        **SECRET,
        **ACCESS,
        "expires_at": instant,
        "failover": switch,
        "finish_streams": switch,
        "recording": text,
        "limits": CONCURRENCY,
    },
    needs=("name",),
    later=LATER,
)
CONSUMER = row(
    {"name": text, **ACCESS, "time_zone": text, "api_keys": rows(API_KEY)}, needs=("name",), later=LIMITS
)
FAILURE_RULE = row(
    {
        "name": text,
        "order": whole,
        "is_active": switch,
        "provider": optional_text,
        "format": optional_text,
        "status": optional_text,
        "error_type": optional_text,
        "text": optional_text,
        "verdict": text,
    },
    needs=("name", "verdict"),
)
FILE = row(
    {
        "providers": rows(PROVIDER),
        "models": rows(MODEL),
        "consumers": rows(CONSUMER),
        "failure_rules": rows(FAILURE_RULE),
    }
)


def read_config(content: str | bytes) -> Row:
    """The rows of a configuration file. Raises ConfigError with every problem found."""
    problems = Problems()
    if len(content) > GREATEST_BYTES:
        raise ConfigError([Problem(0, _("The file is too large: split it."))])
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # Not the error's whole text: it repeats pieces of the file, and the file holds secrets.
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        words = re.sub(r"'[^']{2,}'", "…", error.problem or "")
        raise ConfigError([Problem(line, _("This is no YAML: %(problem)s.") % {"problem": words})]) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise ConfigError([Problem(0, _("This is no YAML: save the file as UTF-8 text."))]) from None
    if node is None:
        return Row(1)
    try:
        found: Row = FILE(problems, node)
    except Refused as error:
        raise ConfigError([Problem(line_of(node), str(error))]) from None
    problems.stop()
    return found
