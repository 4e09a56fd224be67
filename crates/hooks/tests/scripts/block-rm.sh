#!/bin/bash
# PreToolUse, Bash: destructive commands are denied, with a reason for the model.
COMMAND=$(jq -r '.tool_input.command // empty')
if echo "$COMMAND" | grep -qE '\brm\s+-[a-z]*r[a-z]*f'; then
  jq -n '{
    hookSpecificOutput: {
      hookEventName: "PreToolUse",
      permissionDecision: "deny",
      permissionDecisionReason: "recursive deletion is not allowed here"
    }
  }'
else
  exit 0
fi
