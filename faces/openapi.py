"""The data plane in the API's description: it is no DRF view, so drf-spectacular cannot see it. Beside `faces.gateway.fields`,
which decides; a test compares the two."""

from typing import Any, Final

from apikeys.authentication import REASONS
from faces.lib.paths import CHAT, MODELS

TAGS: Final = ["chat"]
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}]
TEXT: Final = {"type": "string"}
FLAG: Final = {"type": "boolean"}
OBJECT: Final = {"type": "object", "additionalProperties": {}}
WHOLE: Final = {"type": "integer", "minimum": 0}


def number(low: float, high: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high}


def whole(low: int, high: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


def texts(most: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most}


def listed(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def shape(properties: dict[str, Any], *, required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": required} if required else {}), **more}


def component(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


NAMED: Final = shape({"name": TEXT}, required=["name"], additionalProperties={})
TEXT_PART: Final = shape({"type": one_of("text"), "text": TEXT}, required=["type", "text"], additionalProperties=False)
REFUSAL_PART: Final = shape(
    {"type": one_of("refusal"), "refusal": TEXT}, required=["type", "refusal"], additionalProperties=False
)
MESSAGE: Final = shape(
    {
        "role": one_of("developer", "system", "user", "assistant", "tool", "function"),
        "content": {
            "anyOf": [TEXT, listed({"anyOf": [TEXT_PART, REFUSAL_PART]})],
            "description": "An assistant's or a function's may also be null or absent.",
        },
        "name": TEXT,
        "refusal": {**TEXT, "nullable": True},
        "tool_calls": listed(OBJECT),
        "tool_call_id": TEXT,
        "function_call": {**OBJECT, "nullable": True},
    },
    required=["role", "content"],
    additionalProperties=False,
    description="Of text only; pictures, audio and files are not priced here.",
)
TOOL: Final = {
    "anyOf": [
        shape({"type": one_of(kind), kind: NAMED}, required=["type", kind], additionalProperties=False)
        for kind in ("function", "custom")
    ]
}
REQUEST: Final = shape(
    {
        "model": texts(200),
        "messages": listed(component("ChatMessage"), minItems=1, maxItems=10_000),
        "max_tokens": whole(1),
        "max_completion_tokens": {**whole(1), "description": "The smaller of the two limits counts."},
        "n": {**whole(1, 128), "default": 1},
        "stream": {**FLAG, "default": False},
        "stream_options": {
            **shape({"include_usage": FLAG, "include_obfuscation": FLAG}, additionalProperties=False),
            "description": "Only with `stream: true`.",
        },
        "temperature": number(0, 2),
        "top_p": number(0, 1),
        "stop": {"anyOf": [TEXT, listed(TEXT, minItems=1, maxItems=16)]},
        "presence_penalty": number(-2, 2),
        "frequency_penalty": number(-2, 2),
        "logit_bias": {"type": "object", "additionalProperties": number(-100, 100)},
        "logprobs": FLAG,
        "top_logprobs": whole(0, 20),
        "seed": {"type": "integer", "minimum": -(2**63 - 1), "maximum": 2**63 - 1},
        "user": texts(1000),
        "safety_identifier": texts(1000),
        "prompt_cache_key": texts(1000),
        "prompt_cache_options": OBJECT,
        "prompt_cache_retention": one_of("in_memory", "in-memory", "24h"),
        "tools": listed(TOOL, description="Your own; hosted tools are billed apart and refused."),
        "tool_choice": {
            "anyOf": [
                TEXT,
                shape(
                    {"type": one_of("function", "custom", "allowed_tools")}, required=["type"], additionalProperties={}
                ),
            ]
        },
        "parallel_tool_calls": FLAG,
        "functions": listed(NAMED),
        "function_call": {"anyOf": [TEXT, NAMED]},
        "response_format": OBJECT,
        "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        "verbosity": one_of("low", "medium", "high"),
        "service_tier": {
            **one_of("auto", "default", "flex", "scale", "priority", "fast"),
            "description": "Whatever it says, the upstream is asked for `default`.",
        },
        "store": FLAG,
        "metadata": {"type": "object", "additionalProperties": {**TEXT, "maxLength": 512}, "maxProperties": 16},
        "modalities": listed(one_of("text"), minItems=1, maxItems=1),
    },
    required=["model", "messages"],
    additionalProperties=False,
    description="OpenAI's chat completion request. A field that is null is as good as absent; one that is not known, or stands "
    "twice, is refused.",
)
COMPLETION: Final = shape(
    {
        "id": TEXT,
        "object": one_of("chat.completion"),
        "created": WHOLE,
        "model": {**TEXT, "description": "The name asked for."},
        "choices": listed(OBJECT),
        "usage": shape(
            {
                "prompt_tokens": WHOLE,
                "completion_tokens": WHOLE,
                "total_tokens": WHOLE,
                "cost": {"type": "number", "minimum": 0, "description": "USD, what was charged."},
            },
            required=["prompt_tokens", "completion_tokens", "cost"],
            additionalProperties={},
        ),
    },
    required=["model", "choices", "usage"],
    additionalProperties={},
)
MODEL: Final = shape(
    {
        "id": TEXT,
        "object": one_of("model"),
        "created": WHOLE,
        "owned_by": TEXT,
        "context_length": WHOLE,
        "max_output_tokens": WHOLE,
    },
    required=["id", "object", "created", "owned_by"],
)
MODEL_LIST: Final = shape({"object": one_of("list"), "data": listed(component("Model"))}, required=["object", "data"])
ERROR: Final = shape(
    {"message": TEXT, "type": TEXT, "code": TEXT, "param": {**TEXT, "nullable": True}},
    required=["message", "type", "code", "param"],
)
GATEWAY_REFUSAL: Final = shape(
    {
        "detail": {"description": "A sentence, or sentences for each field."},
        "error": {
            "allOf": [component("ChatError")],
            "description": "OpenAI's form of the same. On 401, 402 and 403 only with the header x-stainless-lang, as the "
            "official SDKs send it.",
        },
    },
    required=["detail"],
)
REFUSALS: Final = {
    400: "The request is wrong, or the upstream says so; what to write instead is said for each field.",
    401: "Missing or invalid token.",
    402: "Account or key frozen, or the call cannot be paid for; see the header X-Faces-Reason.",
    403: "The origin is not in the key's allowlist.",
    404: "No such model.",
    408: "The body took more than two minutes to arrive; nothing was held.",
    413: "The body is larger than 4 MiB, or the upstream finds it too large.",
    415: "The body is not application/json.",
    422: "The upstream cannot process the request.",
    429: "The upstream is busy. See the header Retry-After.",
    502: "The upstream cannot be reached, refused, or failed; what was charged, if anything, is said.",
    503: "The model is suspended, or the database is away. See the header Retry-After.",
    504: "The upstream took too long; the prompt and what arrived are charged.",
}
SCHEMAS: Final = {
    "ChatRequest": REQUEST,
    "ChatMessage": MESSAGE,
    "ChatCompletion": COMPLETION,
    "ChatError": ERROR,
    "ChatRefusal": GATEWAY_REFUSAL,
    "Model": MODEL,
    "ModelList": MODEL_LIST,
}


def _json(name: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": component(name)}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    found = {str(status): _json("ChatRefusal", REFUSALS[status]) for status in statuses}
    if 402 in statuses:
        found["402"]["headers"] = {
            "X-Faces-Reason": {"schema": one_of(*REASONS), "description": " ".join(REASONS.values())}
        }
    return found


def _operation(operation_id: str, summary: str, description: str, **more: Any) -> dict[str, Any]:
    named = {"operationId": operation_id, "summary": summary, "description": description}
    return {**named, "tags": TAGS, "security": SECURITY, **more}


def _complete_chat() -> dict[str, Any]:
    answered = _json("ChatCompletion", "The completion; with `stream: true`, its chunks as server-sent events.")
    answered["content"]["text/event-stream"] = {}
    answered["headers"] = {
        "X-Faces-Output-Limit": {"schema": whole(1), "description": "The output limit that was used, in tokens."},
        "X-Faces-Held": {
            "schema": {"type": "string"},
            "description": "What was held for the call when its answer began, in USD. The hold of a stream may grow.",
        },
    }
    return _operation(
        "complete_chat",
        "Complete a chat",
        "Held before it runs at the most it can cost, and charged to the nano-dollar after it. An output limit that cannot be "
        "paid is lowered, but never below 256 tokens. A stream may be held for slice by slice, and ends with `length` where "
        "no further slice can be paid.",
        parameters=[
            {
                "name": "X-Faces-Lower",
                "in": "header",
                "schema": one_of("no"),
                "description": "`no`: hold the full output limit or refuse the call.",
            }
        ],
        requestBody={"required": True, "content": {"application/json": {"schema": component("ChatRequest")}}},
        responses={"200": answered, **_refusals(*REFUSALS)},
    )


def _list_models() -> dict[str, Any]:
    return _operation(
        "list_models",
        "List models",
        "Every model that can be called.",
        responses={"200": _json("ModelList", ""), **_refusals(401, 402, 403, 503)},
    )


def _read_model() -> dict[str, Any]:
    return _operation(
        "read_model",
        "Read a model",
        "Its name may contain `/`, as it is or as %2F.",
        parameters=[{"name": "model", "in": "path", "required": True, "schema": texts(200)}],
        responses={"200": _json("Model", ""), **_refusals(401, 402, 403, 404, 503)},
    )


def add_gateway(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: the same description, with the data plane in it."""
    paths = {
        CHAT: {"post": _complete_chat()},
        MODELS: {"get": _list_models()},
        f"{MODELS}/{{model}}": {"get": _read_model()},
    }
    components = result["components"]
    schemas = {**components["schemas"], **SCHEMAS}
    return {
        **result,
        "paths": dict(sorted({**result["paths"], **paths}.items())),
        "components": {**components, "schemas": dict(sorted(schemas.items()))},
    }


def close_requests(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Another: what a request may hold is all that it may hold, since a field nobody reads is refused."""
    schemas = result["components"]["schemas"]
    waiting = [
        content["schema"]
        for operations in result["paths"].values()
        for operation in operations.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    while waiting:
        found = waiting.pop()
        name = found.get("$ref", "").removeprefix("#/components/schemas/")
        if name:
            waiting.append(schemas[name])
        elif "oneOf" in found:
            waiting += found["oneOf"]
        elif found.get("type") == "object":
            found["additionalProperties"] = False
    return result
