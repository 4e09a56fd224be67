#!/usr/bin/env python3
"""Stop: the model goes on once, until it has said that tests pass."""
import json
import sys

data = json.load(sys.stdin)
if data["stop_hook_active"] or "tests pass" in data.get("last_assistant_message", ""):
    sys.exit(0)
print(json.dumps({"decision": "block", "reason": "run the tests before you stop"}))
