#!/bin/bash
# PostToolUseFailure: a hint that fits the error.
INPUT=$(cat)
[ "$(jq -r .is_interrupt <<<"$INPUT")" = true ] && exit 0
if jq -r .error <<<"$INPUT" | grep -q 'no such file'; then
  jq -n '{hookSpecificOutput: {hookEventName: "PostToolUseFailure", additionalContext: "list the folder first"}}'
fi
