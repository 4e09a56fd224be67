#!/usr/bin/env python3
"""PostToolUse, Bash: what looks like a key does not reach the model."""
import json
import re
import sys

response = json.load(sys.stdin)["tool_response"]
clean = re.sub(r"key-[0-9a-f]{8}", "key-[redacted]", response["stdout"])
if clean != response["stdout"]:
    print(json.dumps({
        "hookSpecificOutput": {
            "hookEventName": "PostToolUse",
            "updatedToolOutput": {**response, "stdout": clean},
        }
    }))
