"""What to paste into a client so that it calls this relay."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

PLACEHOLDER = "sk-aether-…"
ANY_MODEL = "your-model"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One client: its name, where the text goes, the text."""

    name: str
    place: str
    text: str


def base_url(request: HttpRequest) -> str:
    """Where clients reach the relay, without a slash at the end."""
    return (settings.AETHER_PUBLIC_URL or request.build_absolute_uri("/")).rstrip("/")


def snippets(base: str, *, secret: str = PLACEHOLDER, model: str = ANY_MODEL) -> list[Snippet]:
    """The texts for an API key. OpenAI's clients want /v1 in the base URL, the others do not."""
    return [
        Snippet(
            "curl",
            "shell",
            f"curl {base}/v1/chat/completions \\\n"
            f'  -H "Authorization: Bearer {secret}" \\\n'
            f'  -H "Content-Type: application/json" \\\n'
            f'''  -d '{{"model": "{model}", "stream": true, '''
            """"messages": [{"role": "user", "content": "Hello"}]}\'""",
        ),
        Snippet(
            "OpenAI SDK",
            "Python",
            "from openai import OpenAI\n\n"
            f'client = OpenAI(base_url="{base}/v1", api_key="{secret}")\n'
            f'answer = client.responses.create(model="{model}", input="Hello")\n'
            "print(answer.output_text)",
        ),
        Snippet(
            "Anthropic SDK",
            "Python",
            "from anthropic import Anthropic\n\n"
            f'client = Anthropic(base_url="{base}", api_key="{secret}")\n'
            "answer = client.messages.create(\n"
            f'    model="{model}", max_tokens=1024, messages=[{{"role": "user", "content": "Hello"}}]\n'
            ")\n"
            "print(answer.content[0].text)",
        ),
        Snippet(
            "Gemini SDK",
            "Python",
            "from google import genai\n\n"
            f'client = genai.Client(api_key="{secret}", http_options={{"base_url": "{base}"}})\n'
            f'answer = client.models.generate_content(model="{model}", contents="Hello")\n'
            "print(answer.text)",
        ),
        Snippet(
            "Claude Code",
            "shell",
            f'export ANTHROPIC_BASE_URL="{base}"\n'
            f'export ANTHROPIC_AUTH_TOKEN="{secret}"\n'
            f'export ANTHROPIC_MODEL="{model}"\n'
            f'export ANTHROPIC_DEFAULT_HAIKU_MODEL="{model}"\n'
            "claude",
        ),
        Snippet(
            "Codex",
            "~/.codex/config.toml",
            f'model = "{model}"\n'
            'model_provider = "aether"\n\n'
            "[model_providers.aether]\n"
            'name = "Aether"\n'
            f'base_url = "{base}/v1"\n'
            'env_key = "AETHER_API_KEY"\n'
            'wire_api = "responses"\n\n'
            f'# and in the shell: export AETHER_API_KEY="{secret}"',
        ),
        Snippet(
            "Gemini CLI",
            "shell",
            "[ -e ~/.gemini/settings.json ] || { mkdir -p ~/.gemini && \\\n"
            """  echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}}' """
            "> ~/.gemini/settings.json; }\n"
            f'export GOOGLE_GEMINI_BASE_URL="{base}"\n'
            f'export GEMINI_API_KEY="{secret}"\n'
            f'gemini --model "{model}"',
        ),
    ]
