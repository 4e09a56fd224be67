#!/usr/bin/env python3
"""PreToolUse, Bash: this project uses another package manager."""
import json
import sys

data = json.load(sys.stdin)
tool_input = data["tool_input"]
if tool_input["command"].startswith("echo npm "):
    changed = {**tool_input, "command": tool_input["command"].replace("npm", "pnpm", 1)}
    print(json.dumps({
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "allow",
            "permissionDecisionReason": "pnpm",
            "updatedInput": changed,
            "additionalContext": "this project uses pnpm",
        }
    }))
