#!/bin/bash
# PostToolUse, Write|Edit: tabs are fed back, with the file as the tool reports it.
INPUT=$(cat)
FILE=$(jq -r '.tool_response.filePath // .tool_input.file_path' <<<"$INPUT")
if grep -q "$(printf '\t')" "$FILE"; then
  jq -n --arg file "$(basename "$FILE")" '{decision: "block", reason: ($file + " has tabs; use spaces")}'
fi
