#!/usr/bin/env python3
"""PreToolUse, Read: documentation needs no question."""
import json
import sys

data = json.load(sys.stdin)
path = data.get("tool_input", {}).get("file_path", "")
if data.get("tool_name") == "Read" and path.endswith((".md", ".txt")):
    print(json.dumps({
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "allow",
            "permissionDecisionReason": "documentation",
        },
        "suppressOutput": True,
    }))
