"""How many tokens a text can be at most, and how many it counts as where the upstream does not say."""

import json
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import toktok

from billing.tokenizers import TOKENIZERS
from faces.gateway.fields import CHECKS, TEXT_MEMBERS
from faces.gateway.schema import ChatRequest

BYTES_PER_TOKEN: Final = 4
"""What an unsaid usage is counted by where the operator named no tokenizer."""
CALL_TOKENS: Final = 256
"""What a chat template may add to any call: a default system prompt, dates, markers. SmolLM2's is about 30, Harmony's 100."""
MESSAGE_TOKENS: Final = 16
"""Markers and role around one message; common templates use three to eight."""
PART_TOKENS: Final = 4
"""What may stand between two parts of a message: most templates put a line break there."""
TOOLS_TOKENS: Final = 1024
"""Instructions a template adds once there are tools; Qwen's and Llama's are under 250."""
INDENT: Final = 4
INDENT_TOKENS: Final = 2
"""A line break and an indentation, by a named tokenizer; they know long runs of spaces."""
MARGIN: Final = (110, 100)
"""A named tokenizer is exact on text; how a provider renders tools around it is not published."""
STRUCTURED: Final = ("tools", "functions", "response_format", "tool_choice", "function_call")
PROSE: Final = TEXT_MEMBERS | {"content"}
PIECE_CHARACTERS: Final = 64
ESCAPED_FOR_A_PAGE: Final = tuple((character, f"\\u{ord(character):04x}") for character in "<>&'")
"""What many JSON writers (Go's, Jinja's own, minijinja's) escape, so that a web page may hold it, in prompts as well."""
ANSWER_MEMBERS: Final = ("content", "refusal")
THOUGHT_MEMBERS: Final = ("reasoning", "reasoning_content", "reasoning_details", "thinking")
PART_MEMBERS: Final = ("text", "thinking", "refusal", "summary")
CALLED_TOKENS: Final = 32
"""What a model writes around one tool call and no server shows: its tags, the braces, the words for name and arguments.
Qwen's, Llama's, DeepSeek's and Harmony's are 10 to 20."""


def prompt_bound(request: ChatRequest, tokenizer: str | None) -> int:
    """An upper bound on the prompt's tokens, template included: UTF-8 bytes of every text, since no byte-level tokenizer
    makes more than one token of a byte; or, with the model's exact tokenizer, its count with a margin."""
    tokens = sum(
        _most_of_text(value, tokenizer) if is_prose else _most(value, tokenizer) for value, is_prose in _prompt(request)
    )
    tokens += sum(len(message["role"]) for message in request.messages)
    if tokenizer is not None:
        tokens = -(-tokens * MARGIN[0] // MARGIN[1])
    parts = sum(len(content) for message in request.messages if isinstance(content := message.get("content"), list))
    has_tools = "tools" in request.fields or "functions" in request.fields
    overhead = CALL_TOKENS + MESSAGE_TOKENS * len(request.messages) + PART_TOKENS * parts
    return tokens + overhead + (TOOLS_TOKENS if has_tools else 0)


def count_prompt(request: ChatRequest, tokenizer: str | None) -> int:
    """The prompt's tokens where the upstream did not say them: rounded up once."""
    texts = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value, _ in _prompt(request)
    )
    return count_text("".join(texts), tokenizer)


def count_text(text: str, tokenizer: str | None) -> int:
    """Tokens of a text by the named tokenizer, else one per four UTF-8 bytes, rounded up."""
    if tokenizer is None:
        return -(-len(text.encode()) // BYTES_PER_TOKEN)
    return int(toktok.batch_count([text], TOKENIZERS[tokenizer], threads=1)[0])


def _prompt(request: ChatRequest) -> Iterator[tuple[Any, bool]]:
    """All that a template can put into the prompt, and whether it is prose, which stands there as it is. The rest a template
    writes in some form of its own: structures, what tools said (Llama's escapes it), and what an operator lets through."""
    for message in request.messages:
        is_prose = message["role"] not in ("tool", "function")
        for member, value in message.items():
            if member == "content" and isinstance(value, list):
                for part in value:
                    yield part[part["type"]], is_prose
                    yield from (
                        ({name: more}, False) for name, more in part.items() if name not in ("type", part["type"])
                    )
            elif member != "role" and value is not None:
                yield value, is_prose and isinstance(value, str) and member in PROSE
    for field, value in request.fields.items():
        if field in STRUCTURED or field not in CHECKS:
            yield value, False


def _most(value: Any, tokenizer: str | None) -> int:
    """Tokens of a structure, or of a text in one, at most: as the most wordy template would write it, indented, and escaped
    where that is longer. The lines are counted, not written: a hundred thousand members 250 levels deep are 100 MB."""
    lines, spaces = _layout(value)
    indentation = lines + spaces if tokenizer is None else INDENT_TOKENS * lines
    return indentation + max(
        _most_of_text(_as_in_a_page(json.dumps(value, ensure_ascii=is_ascii)), tokenizer) for is_ascii in (True, False)
    )


def _as_in_a_page(text: str) -> str:
    for character, escape in ESCAPED_FOR_A_PAGE:
        text = text.replace(character, escape)
    return text


def _most_of_text(text: str, tokenizer: str | None) -> int:
    """Tokenizers may normalise (Unicode Standard Annex 15) first: a ligature of three bytes becomes 33. Decomposition works
    on one character at a time and composition never lengthens, so pieces add up; and within a piece the sorting of
    combining marks, which is quadratic, has an end."""
    if tokenizer is not None:
        return count_text(text, tokenizer)
    if text.isascii():
        return len(text)
    pieces = (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
    return sum(len(piece) if piece.isascii() else _longest_form(piece) for piece in pieces)


def _longest_form(piece: str) -> int:
    forms = (piece, unicodedata.normalize("NFD", piece), unicodedata.normalize("NFKD", piece))
    return max(len(form.encode()) for form in forms)


def _layout(value: Any) -> tuple[int, int]:
    """How many lines, and spaces before them, it has if every member stands on a line of its own."""
    lines = spaces = 0
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        members = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
        lines += len(members) + 1
        spaces += INDENT * (level * len(members) + level - 1)
        waiting += [(member, level + 1) for member in members if isinstance(member, dict | list)]
    return lines, spaces


def received_texts(part: dict[str, Any]) -> list[str]:
    """All that a delta or message shows of the output: content, refusal, reasoning, tool and function calls."""
    texts = [text for member in ANSWER_MEMBERS if member in part for text in _texts(part[member])]
    thoughts: list[list[str]] = []
    for member in filter(part.__contains__, THOUGHT_MEMBERS):
        thought = list(_texts(part[member]))
        if thought not in thoughts:  # some upstreams say one thought under several names
            thoughts.append(thought)
    texts += [text for thought in thoughts for text in thought]
    for _, called in _called(part):
        texts += [value for value in called.values() if isinstance(value, str)]
        texts += [json.dumps(value, ensure_ascii=False) for value in called.values() if isinstance(value, dict | list)]
    return texts


def begun_calls(part: dict[str, Any]) -> set[tuple[str, ...]]:
    """The tool calls a delta or message names: each by what tells it from the others of its choice."""
    return {(str(call.get("index")), str(call.get("id"))) for call, called in _called(part) if called.get("name")}


def _called(part: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every tool call, and what of it the model wrote."""
    calls = part.get("tool_calls")
    for call in [*(calls if isinstance(calls, list) else []), {"function": part.get("function_call")}]:
        for kind in ("function", "custom"):
            called = call.get(kind) if isinstance(call, dict) else None
            if isinstance(called, dict):
                yield call, called


def _texts(member: Any) -> Iterator[str]:
    """A text, or those of a list of parts, which is how Mistral's reasoning models answer: thoughts are parts of parts."""
    waiting = [member]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting += reversed(item)
        elif isinstance(item, dict):
            waiting += [item.get(name) for name in PART_MEMBERS]
