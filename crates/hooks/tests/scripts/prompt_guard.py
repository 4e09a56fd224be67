#!/usr/bin/env python3
"""UserPromptSubmit: secrets are blocked, the rest gets context."""
import json
import re
import sys

prompt = json.load(sys.stdin)["prompt"]
if re.search(r"(?i)\b(password|secret)\s*[:=]", prompt):
    print(json.dumps({"decision": "block", "reason": "the prompt holds a secret; say it without"}))
    sys.exit(0)
print("the release is frozen until Friday")
