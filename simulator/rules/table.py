"""A vendor's rules as the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.ask import BadRequestError

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """What breaks a rule, in the vendor's words; `param` and `code` where it tells them."""

    text: str
    param: str | None = None
    code: str | None = None


Check = Callable[[Body], Iterator[Broken]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`says`: the words of the vendor's document at `source`. `breaks` finds what breaks it in a body."""

    name: str
    says: str
    source: str
    breaks: Check


@dataclass(frozen=True, slots=True)
class Table:
    """The rules of one vendor, in the order in which they are looked at."""

    vendor: str
    rows: list[Rule] = field(default_factory=list)

    def rule(self, name: str, says: str, source: str) -> Callable[[Check], Check]:
        """Adds the row whose check is decorated."""

        def add(check: Check) -> Check:
            self.rows.append(Rule(f"{self.vendor}.{name}", says, source, check))
            return check

        return add

    def check(self, body: Body) -> None:
        """Raises BrokenRuleError for the first rule that the body breaks."""
        for row in self.rows:
            for broken in row.breaks(body):
                raise BrokenRuleError(row, broken)


class BrokenRuleError(BadRequestError):
    """The vendor's refusal of a request that breaks `rule`."""

    def __init__(self, rule: Rule, broken: Broken) -> None:
        super().__init__(broken.text, broken.param, broken.code)
        self.rule = rule


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def objects(value: object) -> list[Body]:
    """The objects of a list; none for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def schemas(schema: object, path: str = "") -> Iterator[tuple[str, Body]]:
    """A schema and those within it, each with its path."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, inner in (schema.get("properties") or {}).items():
        yield from schemas(inner, f"{path}.properties.{name}")
    yield from schemas(schema.get("items"), f"{path}.items")
    for union in ("anyOf", "oneOf", "allOf"):
        for number, inner in enumerate(schema.get(union) or ()):
            yield from schemas(inner, f"{path}.{union}[{number}]")


def loosely(schema: object) -> str:
    """Why a schema is none for OpenAI's `strict`; "" where it is one."""
    for path, each in schemas(schema):
        if each.get("type") != "object" and "properties" not in each:
            continue
        where = f"In context={path or '()'}"
        if each.get("additionalProperties") is not False:
            return f"{where}, 'additionalProperties' is required to be supplied and to be false."
        missing = sorted({*(each.get("properties") or ())} - {*(each.get("required") or ())})
        if missing:
            return (
                f"{where}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'."
            )
    return ""
