#!/bin/bash
# SessionStart: context in JSON, by how the session has begun.
INPUT=$(cat)
SOURCE=$(jq -r .source <<<"$INPUT")
jq -n --arg context "session $SOURCE in $(basename "$(jq -r .cwd <<<"$INPUT")")" '{
  hookSpecificOutput: {hookEventName: "SessionStart", additionalContext: $context}
}'
