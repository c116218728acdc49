"""What vendors really answer when they refuse, with the address where it was seen or is documented.

Organisation, account and key names are made up or shortened."""

from __future__ import annotations

from typing import Any, NamedTuple

OPENAI_DOCS = "https://platform.openai.com/docs/guides/error-codes"
ANTHROPIC_DOCS = "https://docs.anthropic.com/en/api/errors"
GEMINI_DOCS = "https://ai.google.dev/gemini-api/docs/troubleshooting"
DEEPSEEK_DOCS = "https://api-docs.deepseek.com/quick_start/error_codes"
OPENROUTER_DOCS = "https://openrouter.ai/docs/api-reference/errors"
GROQ_DOCS = "https://console.groq.com/docs/errors"
AZURE_DOCS = "https://learn.microsoft.com/en-us/azure/ai-services/openai/how-to/content-filters"
ISSUES = "https://github.com"


class Case(NamedTuple):
    """One refusal. `reason` is what it means to us, `client` the status that the caller gets if every target
    says the same."""

    name: str
    format: str
    status: int
    body: Any
    reason: str
    client: int
    source: str


def openai(message: str, kind: str | None = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


def gemini(code: int, status: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, **more}}


CHAT, RESPONSES, ANTHROPIC, GEMINI = "openai_chat", "openai_responses", "anthropic", "gemini"

CASES: tuple[Case, ...] = (
    # OpenAI
    Case(
        "openai wrong key", CHAT, 401,
        openai("Incorrect API key provided: sk-ab***yz. You can find your API key at "
               "https://platform.openai.com/account/api-keys.", code="invalid_api_key"),
        "key_refused", 502, OPENAI_DOCS,
    ),
    Case(
        "openai no organisation", CHAT, 401,
        openai("You must be a member of an organization to use the API.", code="no_organization"),
        "key_refused", 502, OPENAI_DOCS,
    ),
    Case(
        "openai region", RESPONSES, 403,
        openai("Country, region, or territory not supported", "request_forbidden",
               "unsupported_country_region_territory"),
        "not_permitted", 502, OPENAI_DOCS,
    ),
    Case(
        "openai project without the model", CHAT, 403,
        openai("Project `proj_9KoeXdtHe0YQ` does not have access to model `gpt-4`", code="model_not_found"),
        "not_permitted", 502, f"{ISSUES}/Aider-AI/aider/issues/1903",
    ),
    Case(
        "openai requests per minute, with an address of its billing page", CHAT, 429,
        openai("Rate limit reached for default-global-with-image-limits in organization "
               "org-Yu8pTMWbwQ0jvts on requests per min. Limit: 60.000000 / min. Current: 70.000000 / "
               "min. Contact support@openai.com if you continue to have issues. Please add a payment "
               "method to your account to increase your rate limit. Visit "
               "https://platform.openai.com/account/billing to add a payment method.",
               "requests"),
        "throttled", 429, f"{ISSUES}/mmz-001/knowledge_gpt/issues/5",
    ),
    Case(
        "openai tokens per minute, one request too large", CHAT, 429,
        openai("Request too large for gpt-4o in organization org-Yu8pTMWbwQ0jvts on tokens per min "
               "(TPM): Limit 30000, Requested 30601. The input or output tokens must be reduced in "
               "order to run successfully. Visit https://platform.openai.com/account/rate-limits to "
               "learn more.", "tokens",
               "rate_limit_exceeded"),
        "throttled", 429, f"{ISSUES}/vanderschaarlab/climb/issues/1",
    ),
    Case(
        "openai quota", RESPONSES, 429,
        openai("You exceeded your current quota, please check your plan and billing details. For more "
               "information on this error, read the docs: "
               "https://platform.openai.com/docs/guides/error-codes/api-errors.", "insufficient_quota",
               "insufficient_quota"),
        "out_of_money", 502, OPENAI_DOCS,
    ),
    Case(
        "openai hard limit", CHAT, 400,
        openai("Billing hard limit has been reached", code="billing_hard_limit_reached"),
        "out_of_money", 502, f"{ISSUES}/sbounmy/hongbao_bitcoin/issues/497",
    ),
    Case(
        "openai context length", CHAT, 400,
        openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 "
               "tokens. Please reduce the length of the messages.", code="context_length_exceeded"),
        "caller", 400, f"{ISSUES}/crewAIInc/crewAI-examples/issues/121",
    ),
    Case(
        "openai parameter", CHAT, 400,
        openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
               "'max_completion_tokens' instead.", code="unsupported_parameter"),
        "caller", 400, f"{ISSUES}/griptape-ai/ComfyUI-Griptape/issues/312",
    ),
    Case(
        "openai policy", CHAT, 400,
        openai("Your request was rejected as a result of our safety system.", "image_generation_user_error",
               "content_policy_violation"),
        "caller", 400, OPENAI_DOCS,
    ),
    Case(
        "openai no such model", CHAT, 404,
        openai("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"),
        "unsupported", 404, OPENAI_DOCS,
    ),
    Case(
        "openai server error", CHAT, 500,
        openai("The server had an error while processing your request. Sorry about that!", "server_error"),
        "server_error", 502, OPENAI_DOCS,
    ),
    Case(
        "openai overloaded", CHAT, 503,
        openai("That model is currently overloaded with other requests. You can retry your request.",
               "server_error"),
        "overloaded", 503, OPENAI_DOCS,
    ),
    Case(
        "openai slow down", CHAT, 503,
        openai("Slow down", "server_error"), "unavailable", 503, OPENAI_DOCS,
    ),
    # Anthropic
    Case(
        "anthropic wrong key", ANTHROPIC, 401, anthropic("authentication_error", "invalid x-api-key"),
        "key_refused", 502, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic permission", ANTHROPIC, 403,
        anthropic("permission_error", "Your API key does not have permission to use the specified resource."),
        "not_permitted", 502, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic blocked", ANTHROPIC, 403, anthropic("forbidden", "Request not allowed"),
        "key_refused", 502, f"{ISSUES}/anthropics/claude-code/issues/1613",
    ),
    Case(
        "anthropic credit, told as a bad request", ANTHROPIC, 400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. "
                  "Please go to Plans & Billing to upgrade or purchase credits."),
        "out_of_money", 502, f"{ISSUES}/anthropics/claude-code/issues/66314",
    ),
    Case(
        "anthropic spend limit, told as a bad request", ANTHROPIC, 400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits. You will "
                  "regain access on 2026-04-01 at 00:00 UTC."),
        "out_of_money", 502, f"{ISSUES}/anthropics/claude-code/issues/38035",
    ),
    Case(
        "anthropic organisation disabled, told as a bad request", ANTHROPIC, 400,
        anthropic("invalid_request_error", "This organization has been disabled."),
        "key_refused", 502, f"{ISSUES}/anthropics/claude-code/issues/72457",
    ),
    Case(
        "anthropic billing", ANTHROPIC, 402,
        anthropic("billing_error", "Your account has a billing problem."),
        "out_of_money", 502, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic max_tokens", ANTHROPIC, 400,
        anthropic("invalid_request_error", "max_tokens: 32000 > 4096, which is the maximum allowed number "
                  "of output tokens for claude-3-opus-20240229"),
        "caller", 400, f"{ISSUES}/chathub-dev/chathub/issues/1222",
    ),
    Case(
        "anthropic policy", ANTHROPIC, 400,
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        "caller", 400, f"{ISSUES}/anthropics/claude-code/issues/58367",
    ),
    Case(
        "anthropic no such model", ANTHROPIC, 404, anthropic("not_found_error", "model: claude-9"),
        "unsupported", 404, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic too large", ANTHROPIC, 413,
        anthropic("request_too_large", "Request exceeds the maximum size"), "caller", 413, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic rate limit", ANTHROPIC, 429,
        anthropic("rate_limit_error", "This request would exceed your account's rate limit. Please try again "
                  "later."),
        "throttled", 429, f"{ISSUES}/anthropics/claude-code/issues/71670",
    ),
    Case(
        "anthropic long context without extra usage", ANTHROPIC, 429,
        anthropic("rate_limit_error", "Extra usage is required for long context requests."),
        "throttled", 429, f"{ISSUES}/anthropics/claude-code/issues/29584",
    ),
    Case(
        "anthropic internal", ANTHROPIC, 500, anthropic("api_error", "Internal server error"),
        "server_error", 502, ANTHROPIC_DOCS,
    ),
    Case(
        "anthropic overloaded", ANTHROPIC, 529, anthropic("overloaded_error", "Overloaded"),
        "overloaded", 529, ANTHROPIC_DOCS,
    ),
    # Gemini
    Case(
        "gemini wrong key, told as a bad request", GEMINI, 400,
        gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        "key_refused", 502, GEMINI_DOCS,
    ),
    Case(
        "gemini expired key", GEMINI, 400,
        gemini(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
        "key_refused", 502, f"{ISSUES}/continuedev/continue/issues/11336",
    ),
    Case(
        "gemini leaked key", GEMINI, 403,
        gemini(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
        "key_refused", 502, f"{ISSUES}/continuedev/continue/issues/10513",
    ),
    Case(
        "gemini suspended project", GEMINI, 403,
        gemini(403, "PERMISSION_DENIED", "Permission denied: Consumer "
               "'api_key:AIzaSyA-00000000000000000000000000000000' has been suspended."),
        "key_refused", 502, f"{ISSUES}/google/generative-ai-docs/issues/356",
    ),
    Case(
        "gemini project denied", GEMINI, 403,
        gemini(403, "PERMISSION_DENIED", "Your project has been denied access. Please contact support."),
        "key_refused", 502, f"{ISSUES}/poenl/gemini-api/issues/8",
    ),
    Case(
        "gemini permission", GEMINI, 403,
        gemini(403, "PERMISSION_DENIED", "The caller does not have permission"),
        "not_permitted", 502, f"{ISSUES}/google-gemini/gemini-cli/issues/25607",
    ),
    Case(
        "gemini location, told as a bad request", GEMINI, 400,
        gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        "not_permitted", 502, f"{ISSUES}/poenl/gemini-api/issues/4",
    ),
    Case(
        "gemini free tier, told as a bad request", GEMINI, 400,
        gemini(400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please "
               "enable billing on your project in Google AI Studio."),
        "out_of_money", 502, GEMINI_DOCS,
    ),
    Case(
        "gemini exhausted", GEMINI, 429,
        gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        "throttled", 429, f"{ISSUES}/google-gemini/gemini-cli/issues/19976",
    ),
    Case(
        "gemini quota of a minute", GEMINI, 429,
        gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and "
               "billing details. For more information on this error, head to: "
               "https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for metric: "
               "generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 20, model: "
               "gemini-2.5-flash\nPlease retry in 58.821668433s."),
        "throttled", 429, f"{ISSUES}/ogkalu2/comic-translate/issues/403",
    ),
    Case(
        "gemini quota", GEMINI, 429,
        gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and "
               "billing details. For more information on this error, head to: "
               "https://ai.google.dev/gemini-api/docs/rate-limits."),
        "out_of_money", 502, f"{ISSUES}/google-gemini/gemini-cli/issues/8414",
    ),
    Case(
        "vertex quota of a minute", GEMINI, 429,
        gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/generate_content_"
               "requests_per_minute_per_project_per_base_model with base model: gemini-pro. Please submit a "
               "quota increase request."),
        "throttled", 429, f"{ISSUES}/felixbinder/introspection_self_prediction/issues/66",
    ),
    Case(
        "gemini too long", GEMINI, 400,
        gemini(400, "INVALID_ARGUMENT", "The input token count (1200293) exceeds the maximum number of "
               "tokens allowed (1048576)."),
        "caller", 400, f"{ISSUES}/google-gemini/gemini-cli/issues/6678",
    ),
    Case(
        "gemini no such model", GEMINI, 404,
        gemini(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta, or is not supported "
               "for generateContent."),
        "unsupported", 404, f"{ISSUES}/google/adk-python/issues/200",
    ),
    Case(
        "gemini internal", GEMINI, 500, gemini(500, "INTERNAL", "An internal error has occurred."),
        "server_error", 502, GEMINI_DOCS,
    ),
    Case(
        "gemini overloaded", GEMINI, 503,
        gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        "overloaded", 503, GEMINI_DOCS,
    ),
    Case(
        "gemini deadline", GEMINI, 504,
        gemini(504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."),
        "timeout_status", 504, GEMINI_DOCS,
    ),
    Case(
        "gemini capacity, as a list", GEMINI, 503,
        [gemini(503, "UNAVAILABLE", "No capacity available for model on the server")],
        "unavailable", 503, f"{ISSUES}/google-gemini/gemini-cli/issues/23520",
    ),
    # Azure
    Case(
        "azure rate limit", CHAT, 429,
        {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under Azure "
                   "OpenAI API version 2024-05-01-preview have exceeded token rate limit of your current "
                   "OpenAI S0 pricing tier. Please retry after 86400 seconds. Please go here: "
                   "https://aka.ms/oai/quotaincrease if you would like to further increase the default rate "
                   "limit."}},
        "throttled", 429, f"{ISSUES}/alex-wolf-ps/dbchatprov2/issues/2",
    ),
    Case(
        "azure content filter", CHAT, 400,
        openai("The response was filtered due to the prompt triggering Azure OpenAI's content management "
               "policy. Please modify your prompt and retry.", None, "content_filter"),
        "caller", 400, AZURE_DOCS,
    ),
    # Groq
    Case(
        "groq tokens of a day, with an address of its billing page", CHAT, 429,
        openai("Rate limit reached for model `llama-3.3-70b-versatile` in organization "
               "`org_01kjh7p9n8f1` service tier `on_demand` on tokens per day (TPD): Limit 100000, "
               "Used 97050, Requested 3619. Please try again in 9m38.016s. Need more tokens? Upgrade "
               "to Dev Tier today at https://console.groq.com/settings/billing", "tokens",
               "rate_limit_exceeded"),
        "throttled", 429, f"{ISSUES}/continuedev/continue/issues/10920",
    ),
    Case(
        "groq request too large", CHAT, 413,
        openai("Request too large for model `llama-3.1-8b-instant` in organization `org_01kjh7p9n8f1` "
               "service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 12328, "
               "please reduce your message size and try again. Need more tokens? Upgrade to Dev Tier "
               "today at https://console.groq.com/settings/billing", "tokens",
               "rate_limit_exceeded"),
        "caller", 413, f"{ISSUES}/HunorLaczko/ha-groq-cloud-api/issues/27",
    ),
    Case(
        "groq flex capacity", CHAT, 498,
        openai("Flex tier capacity exceeded. Try again later.", "capacity_exceeded", "capacity_exceeded"),
        "overloaded", 503, GROQ_DOCS,
    ),
    # xAI
    Case(
        "xai wrong key, told as a bad request", CHAT, 400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***Ju. You "
         "can obtain an API key from https://console.x.ai."},
        "key_refused", 502, f"{ISSUES}/yaroslavyaroslav/OpenAI-sublime-text/issues/93",
    ),
    Case(
        "xai without credits, told as a permission", CHAT, 403,
        {"code": "The caller does not have permission to execute the specified operation", "error": "Your "
         "newly created team doesn't have any credits yet. You can purchase credits on "
         "https://console.x.ai/team/0000."},
        "out_of_money", 502, f"{ISSUES}/griptape-ai/griptape-nodes-engine/issues/1079",
    ),
    Case(
        "xai spend limit", RESPONSES, 429,
        {"code": "resource-exhausted", "error": "Your team 0000 has either used all available credits or "
         "reached its monthly spending limit. To continue making API requests, please purchase more credits "
         "or raise your spending limit."},
        "out_of_money", 502, f"{ISSUES}/continuedev/continue/issues/10373",
    ),
    Case(
        "xai rate limit", CHAT, 429,
        {"code": "rate-limited", "error": "Too many tokens for team 0000 and model grok-4-0709. Your team's "
         "rate limit is — Tokens per Minute (actual/limit): 65605/16000. You can view your team rate limits "
         "at https://console.x.ai."},
        "throttled", 429, f"{ISSUES}/cline/cline/issues/4826",
    ),
    # OpenRouter and other resellers
    Case(
        "openrouter credits", CHAT, 402,
        {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to "
                   "65536 tokens, but can only afford 10114. To increase, visit "
                   "https://openrouter.ai/settings/credits and upgrade to a paid account", "code": 402}},
        "out_of_money", 502, f"{ISSUES}/babikov/doka-site/issues/7",
    ),
    Case(
        "openrouter model", CHAT, 400,
        {"error": {"message": "google/gemini-2.0-pro-exp-02-05:free is not a valid model ID", "code": 400}},
        "unsupported_request", 400, f"{ISSUES}/maxnowack/anthropic-proxy/issues/4",
    ),
    Case(
        "openrouter moderation", CHAT, 403,
        {"error": {"message": "Your chosen model requires moderation and your input was flagged",
                   "code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "..."}}},
        "caller", 400, OPENROUTER_DOCS,
    ),
    Case(
        "openrouter free models of a day", CHAT, 429,
        {"error": {"message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free "
                   "model requests per day", "code": 429}},
        "throttled", 429, f"{ISSUES}/Aider-AI/aider/issues/3936",
    ),
    Case(
        "openrouter no endpoint with tools", CHAT, 404,
        {"error": {"message": "No endpoints found that support tool use.", "code": 404}},
        "unsupported", 404, f"{ISSUES}/evalstate/fast-agent/issues/122",
    ),
    Case(
        "together rate limit, with an address of its billing page", CHAT, 429,
        openai("You have been rate limited. Your rate limit is 60 queries per minute. Please navigate to "
               "https://api.together.xyz/settings/billing to upgrade to a paid plan.", "credit_limit"),
        "throttled", 429, f"{ISSUES}/togethercomputer/MoA/issues/27",
    ),
    Case(
        "fireworks suspended", CHAT, 412,
        openai("Account acme is suspended, possibly due to reaching the monthly spending limit or failure to "
               "pay past invoices. Please go to https://fireworks.ai/account/billing for more information.",
               "error", "PRECONDITION_FAILED"),
        "out_of_money", 502, f"{ISSUES}/pollinations/pollinations/issues/12136",
    ),
    Case(
        "new-api user quota", CHAT, 403,
        openai("user quota is not enough (request id: 2024)", "new_api_error", "insufficient_user_quota"),
        "out_of_money", 502, f"{ISSUES}/sparticleinc/chatgpt-google-summary-extension/issues/222",
    ),
    # DeepSeek, Moonshot, Zhipu, Alibaba, Mistral
    Case(
        "deepseek balance", CHAT, 402,
        openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
        "out_of_money", 502, DEEPSEEK_DOCS,
    ),
    Case(
        "deepseek parameters", CHAT, 422, openai("Invalid Parameters"), "caller", 422, DEEPSEEK_DOCS,
    ),
    Case(
        "moonshot requests", CHAT, 429,
        openai("Your account org-78cd08fac9804d20<ak-f94zcrj6ax1111aqsyq1> request reached "
               "organization max RPM: 20, please try again after 1 seconds", "rate_limit_reached_error"),
        "throttled", 429, f"{ISSUES}/MoonshotAI/kimi-cli/issues/1599",
    ),
    Case(
        "moonshot engine", CHAT, 429,
        openai("The engine is currently overloaded, please try again later", "engine_overloaded_error"),
        "overloaded", 503, f"{ISSUES}/MoonshotAI/kimi-code/issues/1252",
    ),
    Case(
        "zhipu balance", CHAT, 429,
        {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}},
        "out_of_money", 502, f"{ISSUES}/agentscope-ai/QwenPaw/issues/202",
    ),
    Case(
        "zhipu balance, as anthropic", ANTHROPIC, 429,
        anthropic("1113", "Insufficient balance or no resource package. Please recharge."),
        "out_of_money", 502, f"{ISSUES}/anthropics/claude-code/issues/9201",
    ),
    Case(
        "alibaba arrears, told as a bad request", CHAT, 400,
        openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"),
        "out_of_money", 502, f"{ISSUES}/QuantumNous/new-api/pull/1401",
    ),
    Case(
        "alibaba inspection", CHAT, 400,
        openai("Input data may contain inappropriate content.", "data_inspection_failed",
               "data_inspection_failed"),
        "caller", 400, f"{ISSUES}/QwenLM/Qwen/issues/938",
    ),
    Case(
        "mistral rate limit", CHAT, 429,
        {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": None,
         "code": "1300", "raw_status_code": 429},
        "throttled", 429, f"{ISSUES}/raycast/extensions/issues/31107",
    ),
    Case(
        "mistral capacity", CHAT, 429,
        {"object": "error", "message": "Service tier capacity exceeded for this model.",
         "type": "invalid_request_error", "param": None, "code": None},
        "throttled", 429, f"{ISSUES}/continuedev/continue/issues/6185",
    ),
    # Servers of one's own, and what stands before them
    Case(
        "ollama no such model", CHAT, 404,
        openai('model "llama9" not found, try pulling it first', "api_error"),
        "unsupported", 404, f"{ISSUES}/netease-youdao/QAnything/issues/555",
    ),
    Case(
        "nginx", CHAT, 502,
        b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>",
        "server_error", 502, f"{ISSUES}/nginx/nginx/blob/master/src/http/ngx_http_special_response.c",
    ),
    Case(
        "envoy", CHAT, 503,
        b"upstream connect error or disconnect/reset before headers. reset reason: connection failure",
        "unavailable", 503, f"{ISSUES}/knative-extensions/net-contour/issues/237",
    ),
    Case(
        "cloudflare timeout", ANTHROPIC, 524, b"error code: 524", "timeout_status", 504,
        f"{ISSUES}/QuantumNous/new-api/issues/971",
    ),
    Case(
        "nothing at all", CHAT, 500, b"", "server_error", 502, OPENAI_DOCS,
    ),
)  # fmt: skip
