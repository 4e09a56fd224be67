"""The official SDKs against the rehearsal: they stream, call tools, and read usage, cache figures and errors.

Run by tests/peers.rs as `sdk.py URL`; ends with 0 and a last line `ok`, or with an assertion.
"""

import json
import sys

import anthropic
import openai

URL = sys.argv[1]
LONG = "All of this stands in front of every question. " * 400


def messages():
    client = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=2)
    tool = {
        "name": "bash",
        "description": "Runs a command.",
        "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    }
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    common = {"model": "claude-sonnet-5-5", "max_tokens": 1000, "system": system, "tools": [tool]}
    history = [{"role": "user", "content": "count"}]

    with client.messages.stream(messages=history, **common) as stream:
        text = "".join(stream.text_stream)
        first = stream.get_final_message()
    kinds = [block.type for block in first.content]
    assert kinds == ["thinking", "text", "tool_use"], kinds
    assert text == first.content[1].text == "I count, ä€😀.", text
    assert first.content[2].input == {"command": "seq 3"}, first.content[2]
    assert first.stop_reason == "tool_use", first.stop_reason
    assert first.usage.cache_creation_input_tokens > 4000, first.usage
    assert first.usage.cache_creation.ephemeral_5m_input_tokens == first.usage.cache_creation_input_tokens, first.usage

    answered = history + [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": first.content[2].id, "content": "1\n2\n3"}],
        },
    ]
    second = client.messages.create(messages=answered, **common)
    assert second.content[0].text == "3 lines", second.content
    assert second.stop_reason == "end_turn", second.stop_reason
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens, second.usage
    assert client.messages.count_tokens(
        model=common["model"], messages=answered, system=system, tools=[tool]
    ).input_tokens == (second.usage.input_tokens + second.usage.cache_read_input_tokens), second.usage

    try:
        client.messages.create(messages=answered[:2], **common)
    except anthropic.BadRequestError as error:
        assert "tool_use" in str(error), error
    else:
        raise AssertionError("an orphan was accepted")

    # The server says 429 once; the SDK waits as it is told, and asks again.
    assert client.messages.create(messages=[{"role": "user", "content": "busy"}], **common).content[0].text == "at last"
    assert "claude-sonnet-5-5" in [model.id for model in client.models.list()]


def completions():
    client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=2)
    parameters = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
    tool = {"type": "function", "function": {"name": "bash", "description": "Runs.", "parameters": parameters}}
    common = {"model": "gpt-6.1-terra", "tools": [tool]}
    history = [{"role": "system", "content": LONG}, {"role": "user", "content": "count"}]

    text, calls, finish, usage = "", {}, None, None
    for chunk in client.chat.completions.create(
        messages=history, stream=True, stream_options={"include_usage": True}, **common
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": part.id, "name": part.function.name, "arguments": ""})
                call["arguments"] += part.function.arguments or ""
    assert text == "I count, ä€😀.", text
    assert finish == "tool_calls", finish
    assert json.loads(calls[0]["arguments"]) == {"command": "seq 3"}, calls
    assert usage.prompt_tokens > 4000 and usage.completion_tokens > 0, usage

    function = {"name": "bash", "arguments": calls[0]["arguments"]}
    answered = history + [
        {
            "role": "assistant",
            "content": text,
            "tool_calls": [{"id": calls[0]["id"], "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "1\n2\n3"},
    ]
    second = client.chat.completions.create(messages=answered, **common)
    assert second.choices[0].message.content == "3 lines", second
    assert second.usage.prompt_tokens_details.cached_tokens >= 4000, second.usage

    try:
        client.chat.completions.create(messages=answered[:3], **common)
    except openai.BadRequestError as error:
        assert "tool" in str(error), error
    else:
        raise AssertionError("an orphan was accepted")


messages()
completions()
print("ok")
