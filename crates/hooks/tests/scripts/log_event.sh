#!/bin/bash
# Any event: a line of its name and of what a matcher would look at.
jq -r '[.hook_event_name, (.source // .reason // .trigger // .notification_type // .agent_type // .tool_name // "-"), (.agent_id // "-")] | join(" ")' >>"$CLAUDE_PROJECT_DIR/events.log"
