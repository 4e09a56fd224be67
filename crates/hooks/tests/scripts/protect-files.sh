#!/bin/bash
# PreToolUse, Edit|Write: some files are nobody's to edit. Paths are absolute.
FILE_PATH=$(jq -r '.tool_input.file_path // empty')
case "$FILE_PATH" in
  "$CLAUDE_PROJECT_DIR"/.env* | */package-lock.json)
    echo "Blocked: ${FILE_PATH#"$CLAUDE_PROJECT_DIR"/} is protected" >&2
    exit 2
    ;;
esac
exit 0
