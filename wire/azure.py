"""Azure OpenAI's older addresses, for endpoints with the quirk `azure_deployments`: the model stands in the
path, the version of the API in the query, the key in a header of its own
(learn.microsoft.com/azure/ai-foundry/openai/reference). Its newer `/openai/v1` is OpenAI's own way and
needs none of this.
"""

from __future__ import annotations

from urllib.parse import quote

from wire.urls import without_key

QUIRK = "azure_deployments"
VERSION = "2024-10-21"
"""The last one that Microsoft finished; what came later is at `/openai/v1`."""
_HEAD = "/v1/"


def deployment_url(base_url: str, *, model: str, path: str, query: str = "") -> str:
    """Where a deployment, there a model's name, answers what OpenAI answers at `path`. A version that the
    client's query names counts."""
    kept = without_key(query) if query else ""
    if not any(part.startswith("api-version=") for part in kept.split("&")):
        kept = "&".join(filter(None, (f"api-version={VERSION}", kept)))
    verb = path.removeprefix(_HEAD).lstrip("/")
    return f"{_root(base_url)}/deployments/{quote(model, safe='')}/{verb}?{kept}"


def models_url(base_url: str) -> str:
    """Where the models are listed."""
    return f"{_root(base_url)}/models?api-version={VERSION}"


def credentials(secret: str, style: str = "") -> dict[str, str]:
    """A key in its own header; `bearer` is for tokens of Entra ID."""
    return {"authorization": f"Bearer {secret}"} if style == "bearer" else {"api-key": secret}


def _root(base_url: str) -> str:
    base = base_url.rstrip("/")
    return base if base.endswith("/openai") else f"{base}/openai"
