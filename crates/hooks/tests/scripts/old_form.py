#!/usr/bin/env python3
"""PreToolUse, in the form that the protocol had first: decision and reason at the top."""
import json
import sys

command = json.load(sys.stdin)["tool_input"].get("command", "")
if "sudo" in command:
    print(json.dumps({"decision": "block", "reason": "no sudo"}))
