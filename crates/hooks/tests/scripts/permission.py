#!/usr/bin/env python3
"""PermissionRequest: tests may always run, deployments never."""
import json
import sys

command = json.load(sys.stdin)["tool_input"].get("command", "")
decision = None
if command.startswith("cargo test"):
    decision = {"behavior": "allow"}
elif "deploy" in command:
    decision = {"behavior": "deny", "message": "deployments are made by people"}
if decision:
    print(json.dumps({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}))
