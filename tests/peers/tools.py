"""The tools of all lessons against the official SDKs: their types accept each tool, JSON Schema accepts each schema, and
what the SDKs send of them is accepted by the rehearsal.

Run by tests/peers.rs as `tools.py URL FILE`. The file holds, for each lesson, the tools of its requests in both formats:
{lesson: {"anthropic": [tool, ..], "openai": [tool, ..]}}. Ends with 0 and a last line `N tools`, or with an error that
names the lesson and the tool.
"""

import json
import sys

import anthropic
import jsonschema
import openai
from anthropic.types import ToolParam
from anthropic.types.tool_param import InputSchemaTyped
from openai.types.chat import ChatCompletionToolParam
from openai.types.shared_params import FunctionDefinition
from pydantic import ConfigDict, TypeAdapter, ValidationError

URL, FILE = sys.argv[1:]

# Nothing is converted, and a field that a type does not have is a mistake.
for type_ in (ToolParam, ChatCompletionToolParam, FunctionDefinition):
    type_.__pydantic_config__ = ConfigDict(strict=True, extra="forbid")
ANTHROPIC_TOOL = TypeAdapter(ToolParam)
# A tool's own type also takes any other map for its schema; this is the form that the API asks for.
ANTHROPIC_SCHEMA = TypeAdapter(InputSchemaTyped)
OPENAI_TOOL = TypeAdapter(ChatCompletionToolParam)


def check_anthropic(tool):
    ANTHROPIC_TOOL.validate_python(tool)
    ANTHROPIC_SCHEMA.validate_python(tool["input_schema"])
    jsonschema.Draft202012Validator.check_schema(tool["input_schema"])


def check_openai(tool):
    OPENAI_TOOL.validate_python(tool)
    jsonschema.Draft202012Validator.check_schema(tool["function"]["parameters"])


def refuses(check, tool):
    try:
        check(tool)
    except (ValidationError, jsonschema.SchemaError):
        return
    raise AssertionError(f"accepted: {tool}")


def checks_refuse_what_is_wrong():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    fine = {"name": "a", "description": "d", "input_schema": schema}
    check_anthropic(fine)
    refuses(check_anthropic, {**fine, "parameters": schema})
    refuses(check_anthropic, {**fine, "name": 1})
    refuses(check_anthropic, {**fine, "input_schema": {**schema, "type": "array"}})
    refuses(check_anthropic, {**fine, "input_schema": {**schema, "properties": {"a": {"type": "text"}}}})
    function = {"name": "a", "description": "d", "parameters": schema}
    fine = {"type": "function", "function": function}
    check_openai(fine)
    refuses(check_openai, {**fine, "name": "a"})
    refuses(check_openai, {**fine, "function": {**function, "input_schema": schema}})
    refuses(check_openai, {**fine, "function": {**function, "parameters": {"type": "object", "required": "a"}}})


checks_refuse_what_is_wrong()
messages = [{"role": "user", "content": "go"}]
anthropic_client = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0)
openai_client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)
with open(FILE) as file:
    lessons = json.load(file)
names = set()
for lesson, tools in lessons.items():
    for format_, check in (("anthropic", check_anthropic), ("openai", check_openai)):
        for tool in tools[format_]:
            try:
                check(tool)
            except (ValidationError, jsonschema.SchemaError) as error:
                sys.exit(f"{lesson}, {format_}: {json.dumps(tool)}\n{error}")
    listed = [tool["name"] for tool in tools["anthropic"]]
    assert listed == [tool["function"]["name"] for tool in tools["openai"]], lesson
    names.update(listed)
    reply = anthropic_client.messages.create(
        model="rehearsal", max_tokens=100, messages=messages, tools=tools["anthropic"]
    )
    assert reply.content[0].text == "done", (lesson, reply)
    completion = openai_client.chat.completions.create(model="rehearsal", messages=messages, tools=tools["openai"])
    assert completion.choices[0].message.content == "done", (lesson, completion)
print(f"{len(names)} tools")
