#!/usr/bin/env python3
"""PreToolUse, Bash: proposes better commands, by status 2."""
import json
import re
import sys

RULES = [
    (r"^find\b.*-name\b", "use glob instead of find -name"),
    (r"\bcat\b[^|]*\|\s*head\b", "use read with a limit instead of cat | head"),
]

try:
    data = json.load(sys.stdin)
except json.JSONDecodeError as error:
    print(f"no JSON: {error}", file=sys.stderr)
    sys.exit(1)

if data.get("tool_name") != "Bash":
    sys.exit(0)

issues = [why for rule, why in RULES if re.search(rule, data.get("tool_input", {}).get("command", ""))]
if issues:
    for why in issues:
        print(f"- {why}", file=sys.stderr)
    sys.exit(2)
