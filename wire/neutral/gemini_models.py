"""What Gemini's models take, by their names: the same request is a 400 on one and right on another.

From ai.google.dev/gemini-api/docs: thinking, thought-signatures, function-calling, structured-output,
generate-content/latest-model (Gemini 4), and docs.cloud.google.com/gemini-enterprise-agent-platform/models:
thinking (levels by model), guides/gemini-3-5-flash. That penalties end with 2.0 and a last turn of the
model's with 3.1 is what the API itself says ("Penalty is not enabled for this model", "Requests ending with
a model turn are not supported": github.com/google-gemini/cookbook/issues/1290,
github.com/pipecat-ai/pipecat/pull/5821).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from wire.neutral.efforts import budget_of, level_of
from wire.neutral.requests import Effort

_VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?![\d.])")
_SILENT = re.compile(r"-(?:image|tts|audio|live|embedding|computer)")
"""Models that take no `thinkingConfig`."""
NEWEST: Final = (4, 0)
ORDER: Final = ("minimal", "low", "medium", "high", "xhigh", "max")


class Model(msgspec.Struct, frozen=True):
    """What a model takes. The defaults are those of a model of another name behind this format: what the
    format always had, and nothing that came later."""

    budgets: tuple[int, int] | None = None
    """Least and most tokens of `thinkingBudget`."""
    thinks_always: bool = True
    """A `thinkingBudget` of 0 is refused."""
    levels: tuple[str, ...] = ()
    """Words for `thinkingLevel`, from the least."""
    json_schema: bool = False
    """`parametersJsonSchema` and `responseJsonSchema`."""
    shapes_with_tools: bool = False
    """`responseMimeType` of JSON beside functions."""
    media_results: bool = False
    """`functionResponse.parts`."""
    wants_signatures: bool = False
    """The first call of each step of the turn that is going on must be signed."""
    prefills: bool = True
    """The last turn may be the model's."""
    penalties: bool = True


@lru_cache(maxsize=256)
def model_of(name: str) -> Model:
    """What the model of this name takes. A version nobody knew yet takes what the last known one takes."""
    plain = name.lower()
    if "gemini" not in plain:
        return Model()
    found = _VERSION.search(plain)
    version = (int(found[1]), int(found[2] or 0)) if found is not None else NEWEST
    family = "lite" if "flash-lite" in plain else "flash" if "flash" in plain else "pro"
    thinks = not _SILENT.search(plain)
    return Model(
        budgets=_budgets(family) if thinks and version == (2, 5) else None,
        thinks_always=family == "pro",
        levels=_levels(family, version) if thinks and version >= (3, 0) else (),
        json_schema=version >= (2, 5),
        shapes_with_tools=version >= (3, 0),
        media_results=version >= (3, 0),
        wants_signatures=version >= (3, 0),
        prefills=version <= (3, 1),
        penalties=version < (2, 5),
    )


def _budgets(family: str) -> tuple[int, int]:
    return {"pro": (128, 32_768), "flash": (1, 24_576), "lite": (512, 24_576)}[family]


def _levels(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if family == "pro" and version == (3, 0):
        return ("low", "high")
    if family == "lite" or (family == "flash" and version <= (3, 6)):
        return ("minimal", "low", "medium", "high")
    return ("low", "medium", "high")


def thinking_config(
    effort: Effort, model: Model, limit: int | None, *, exact: bool
) -> tuple[dict[str, Any], bool]:
    """`thinkingConfig`, and whether it is all that was asked. `limit` is the greatest number of tokens of the
    answer, thoughts and all; `exact` tells that the words are of this format already."""
    if exact:
        return _verbatim(effort), True
    thinks = bool(model.budgets or model.levels)
    if not thinks:
        return {}, effort.enabled is not True and not effort.level and not effort.budget
    config: dict[str, Any] = {}
    honoured = True
    if model.levels:
        level = _level(effort)
        if level:
            config["thinkingLevel"] = _nearest(level, model.levels)
        honoured = level != "off"
    elif model.budgets is not None:
        budget = _budget(effort)
        if budget is not None:
            if effort.budget is None and limit is not None:
                budget = min(budget, limit // 2)  # a word leaves room for the answer
            config["thinkingBudget"] = _within(budget, model, limit)
            honoured = bool(budget) or not config["thinkingBudget"]
    if effort.enabled is not False:
        config["includeThoughts"] = effort.shown is not False
    return config, honoured


def _verbatim(effort: Effort) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if effort.budget is not None:
        config["thinkingBudget"] = effort.budget
    if effort.level:
        config["thinkingLevel"] = effort.level
    if effort.shown is not None:
        config["includeThoughts"] = effort.shown
    return config


def _level(effort: Effort) -> str:
    """The wanted level, `off` for none at all, "" for what the model likes."""
    if effort.enabled is False:
        return "off"
    if effort.level or effort.budget is None or effort.budget < 0:
        return effort.level
    return level_of(effort.budget)


def _nearest(level: str, levels: tuple[str, ...]) -> str:
    """The least level that is no less than the wanted one, else the greatest."""
    wanted = (
        ORDER.index(level) if level in ORDER else 0 if level in ("off", "none") else ORDER.index("medium")
    )
    return next((each for each in levels if ORDER.index(each) >= wanted), levels[-1])


def _budget(effort: Effort) -> int | None:
    if effort.enabled is False:
        return 0
    if effort.budget is not None:
        return effort.budget
    if effort.level:
        return budget_of(effort.level)
    return -1 if effort.enabled else None


def _within(budget: int, model: Model, limit: int | None) -> int:
    """A budget that the model takes, and less than the whole answer's limit (conversion.md, 46)."""
    least, most = model.budgets or (0, 0)
    if budget < 0:
        return -1
    if limit is not None:
        budget = min(budget, limit - 1)
    if budget < least:
        return least if budget > 0 or model.thinks_always else 0
    return min(budget, most)
