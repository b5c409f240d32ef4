"""What chat servers answer when they do not answer, and how models wrap what they are asked for.

The bodies have the layouts of the servers' documentation and public reports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ifllm_hf import chat_server as kinds


@dataclass(frozen=True)
class ChatError:
    """A response, and what it should be taken for.

    Attributes:
        kind: The kind of `NoAnswer`.
        status: HTTP status of the response.
        body: Its content.
        headers: More headers.
        wait_s: How long it asks to wait.
        says: A part of what is to be said of it.
    """

    kind: str
    status: int
    body: bytes
    headers: dict[str, str | None] = field(default_factory=dict)
    wait_s: float | None = None
    says: str = ""


def _error(kind: str, status: int, error: Any, *, says: str = "", **more: Any) -> ChatError:
    return ChatError(kind, status, json.dumps(error).encode(), says=says, **more)


_NGINX = (
    b"<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n"
    b"<hr><center>nginx/1.24.0</center>\r\n</body>\r\n</html>\r\n"
)

ERRORS: dict[str, ChatError] = {
    "openai context": _error(
        kinds.TOO_LONG, 400,
        {"error": {"message": "This model's maximum context length is 8192 tokens. However, your "
                   "messages resulted in 9001 tokens.", "type": "invalid_request_error",
                   "param": "messages", "code": "context_length_exceeded"}},
        says="9001 tokens",
    ),
    "openai rate": _error(
        kinds.BUSY, 429,
        {"error": {"message": "Rate limit reached for gpt-x: Limit 500, Used 500. Please try again "
                   "in 1.2s.", "type": "requests", "code": "rate_limit_exceeded"}}, wait_s=1.2,
    ),
    "openai rate in ms": _error(
        kinds.BUSY, 429, {"error": {"message": "slow down, code rate_limit_exceeded"}},
        headers={"retry-after-ms": "250", "Retry-After": "1"}, wait_s=0.25,
    ),
    "openai quota": _error(
        kinds.SETTINGS, 429,
        {"error": {"message": "You exceeded your current quota, please check your plan.",
                   "type": "insufficient_quota", "code": "insufficient_quota"}}, says="quota",
    ),
    "openai parameter": _error(
        kinds.REFUSED, 400,
        {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
                   "type": "invalid_request_error", "code": "unsupported_parameter"}},
        says="max_completion_tokens",
    ),
    "azure filter": _error(
        kinds.FILTERED, 400,
        {"error": {"message": "The response was filtered due to the prompt triggering Azure "
                   "OpenAI's content management policy.", "type": None, "param": "prompt",
                   "code": "content_filter", "status": 400,
                   "innererror": {"code": "ResponsibleAIPolicyViolation",
                                  "content_filter_result": {"hate": {"filtered": True}}}}},
    ),
    "azure rate": _error(
        kinds.BUSY, 429,
        {"error": {"code": "429", "message": "Requests have exceeded call rate limit. Please retry "
                   "after 10 seconds."}}, wait_s=10.0,
    ),
    "vllm context": _error(
        kinds.TOO_LONG, 400,
        {"object": "error", "message": "This model's maximum context length is 4096 tokens. However"
         ", you requested 5000 tokens (4488 in the messages, 512 in the completion).",
         "type": "BadRequestError", "param": None, "code": 400}, says="4096",
    ),
    "llama.cpp context": _error(
        kinds.TOO_LONG, 400,
        {"error": {"code": 400, "message": "the request exceeds the available context size, try "
                   "increasing it", "type": "exceed_context_size_error", "n_ctx": 4096}},
    ),
    "llama.cpp loading": _error(
        kinds.BUSY, 503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
    ),
    "tgi tokens": _error(
        kinds.TOO_LONG, 422,
        {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
         "Given: 4000 `inputs` tokens and 512 `max_new_tokens`", "error_type": "validation"},
    ),
    "huggingface loading": _error(
        kinds.BUSY, 503, {"error": "Model org/name is currently loading", "estimated_time": 20.0},
        wait_s=20.0,
    ),
    "huggingface credits": _error(
        kinds.SETTINGS, 402,
        {"error": "You have exceeded your monthly included credits for Inference Providers."},
        says="monthly",
    ),
    "ollama model": _error(
        kinds.SETTINGS, 404,
        {"error": {"message": "model \"judge-1\" not found, try pulling it first",
                   "type": "api_error", "param": None, "code": None}}, says="pulling",
    ),
    "openrouter rate in 200": _error(
        kinds.BUSY, 200,
        {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min.",
                   "metadata": {"headers": {"Retry-After": "7"}}}, "user_id": "u"}, wait_s=7.0,
    ),
    "openrouter provider in 200": _error(
        kinds.BROKEN, 200, {"error": {"code": 502, "message": "Provider returned error"}},
    ),
    "openrouter error in a choice": _error(
        kinds.BUSY, 200,
        {"id": "gen-1", "choices": [{"index": 0, "finish_reason": "error", "message": {
            "role": "assistant", "content": None}, "error": {"code": 503, "message": "Overloaded"}
        }]},
    ),
    "openrouter moderation": _error(
        kinds.FILTERED, 403,
        {"error": {"code": 403, "message": "Your input was flagged", "metadata": {
            "reasons": ["violence"], "flagged_input": "..."}}},
    ),
    "anthropic overloaded": _error(
        kinds.BUSY, 529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ),
    "anthropic too long": _error(
        kinds.TOO_LONG, 400,
        {"type": "error", "error": {"type": "invalid_request_error", "message":
         "prompt is too long: 210000 tokens > 200000 maximum"}},
    ),
    "anthropic overloaded in 200": _error(
        kinds.BUSY, 200, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
    ),
    "litellm context": _error(
        kinds.TOO_LONG, 400,
        {"error": {"message": "litellm.ContextWindowExceededError: litellm.BadRequestError: "
                   "OpenAIException", "type": None, "param": None, "code": "400"}},
    ),
    "google rate": _error(
        kinds.BUSY, 429,
        [{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
                                 "retryDelay": "34s"}]}}], wait_s=34.0,
    ),
    "fastapi validation": _error(
        kinds.REFUSED, 422,
        {"detail": [{"type": "missing", "loc": ["body", "response_format"], "msg": "required"}]},
        says="response_format",
    ),
    "nginx large": ChatError(
        kinds.TOO_LONG, 413, _NGINX % ((b"413 Request Entity Too Large",) * 2), says="Too Large"
    ),
    "nginx gateway": ChatError(kinds.BROKEN, 502, _NGINX % ((b"502 Bad Gateway",) * 2)),
    "nginx patience": ChatError(kinds.TIMEOUT, 504, _NGINX % ((b"504 Gateway Time-out",) * 2)),
    "nginx auth": ChatError(kinds.SETTINGS, 401, _NGINX % ((b"401 Authorization Required",) * 2)),
    "cloudflare 520": ChatError(kinds.BROKEN, 520, b"error code: 520", says="520"),
    "cloudflare 524": ChatError(kinds.TIMEOUT, 524, b"error code: 524"),
    "empty 500": ChatError(kinds.BROKEN, 500, b""),
    "empty 200": ChatError(kinds.BROKEN, 200, b""),
    "cut json in 200": ChatError(kinds.BROKEN, 200, b'{"id": "1", "choices": [{"mess'),
    "stream in 200": ChatError(kinds.BROKEN, 200, b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
    "list in 200": ChatError(kinds.BROKEN, 200, b"[]"),
    "not utf-8 in 200": ChatError(kinds.BROKEN, 200, b'{"choices": "\xff"}'),
    "redirect": ChatError(
        kinds.SETTINGS, 307, b"", headers={"Location": "https://elsewhere.example/v1"}
    ),
}  # fmt: skip

WRAPPED = {
    "think": '<think>\nThe first {is} "fine".\n</think>\n\nVERDICT',
    "thinking": "<thinking>hm</thinking>VERDICT",
    "think opened by the template": "The second is longer.\n</think>\nVERDICT",
    "think twice": "<think>a</think><think>b</think>VERDICT",
    "mistral": "[THINK]so[/THINK]VERDICT",
    "kimi": "◁think▷so◁/think▷VERDICT",
    "harmony": "<|channel|>analysis<|message|>We need {JSON}.<|end|><|start|>assistant<|channel|>"
    "final<|message|>VERDICT<|return|>",
    "harmony with a format": "<|channel|>final <|constrain|>json<|message|>VERDICT",
    "fence": "```json\nVERDICT\n```",
    "fence in capitals": "```JSON\r\nVERDICT\r\n```\r\n",
    "fence of tildes": "~~~\nVERDICT\n~~~",
    "fence in one line": "```VERDICT```",
    "fence with words around": "Here you are:\n\n```json5\nVERDICT\n```\nI hope this helps.",
    "fence that never closes": "```json\nVERDICT",
    "think and fence": "<think>```json\n{}\n```</think>\n```json\nVERDICT\n```",
    "end of turn": "VERDICT<|im_end|>",
    "byte order mark": "\ufeffVERDICT",
}
"""Ways to say a verdict that are forgiven; `VERDICT` stands for the JSON."""
