#!/usr/bin/env python3
"""A model that plays a script, to test an agent without a key. Python 3.9+, standard library only.

    python3 scripted_model.py play SCRIPT.json [--port N] [--log FILE]     # serves POST /v1/messages on 127.0.0.1
    python3 scripted_model.py test SCRIPT.json -- COMMAND ...              # serves it to COMMAND, as ANTHROPIC_BASE_URL
    python3 scripted_model.py check REQUEST.json                           # faults of one request body, or of a list of messages

`test` fails when the command does, when a request was refused, or when answers were never asked for.

A script is a list of answers, given in order, one per request:

    [{"status": 429, "retry_after": 0},                                     an error first, to test the retry
     {"text": "I look.", "calls": [{"bash": {"command": "ls"}}]},
     {"expect": "README", "text": "There is a README."},                    a regex the newest message must match
     {"calls": [{"read": {"path": "x"}}], "stop": "max_tokens"}]            any stop_reason
Requests that the real API would refuse get a 400 that says why. So does a request whose history does not begin with
the history sent before (the cache would be lost), unless the answer carries "rewritten": true; and one too many.
"""
import argparse, json, os, re, signal, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer


KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}


def blocks(message):
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def faults(body):
    """What the API would refuse in this request: the rules of pairing, order and emptiness."""
    messages, found, seen, open_calls, last_role = body.get("messages"), [], set(), [], None
    if not isinstance(messages, list) or not messages:
        return ["`messages` is missing or empty"]
    for n, message in enumerate(messages):
        at, role = f"messages.{n}", message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            found.append(f"{at}: `role` is {role!r}")
            continue
        content = blocks(message)
        if not isinstance(content, list) or not content or not all(isinstance(b, dict) for b in content):
            found.append(f"{at}: `content` is empty, or neither text nor a list of blocks")
            continue
        if n == 0 and role != "user":
            found.append(f"{at}: the first message must be the user's")
        for b in content:
            if b.get("type") == "text" and not str(b.get("text", "")).strip():
                found.append(f"{at}: an empty text block")
        results = [b.get("tool_use_id") for b in content if b.get("type") == "tool_result"]
        if role == "user":
            first_other = next((i for i, b in enumerate(content) if b.get("type") != "tool_result"), len(content))
            if any(b.get("type") == "tool_result" for b in content[first_other:]):
                found.append(f"{at}: a tool_result stands after other content; results come first")
            # Several user messages in a row count as one.
            owed = open_calls if last_role == "assistant" else []
            for call in owed:
                if results.count(call) != 1:
                    found.append(f"{at}: tool_use {call} has {results.count(call)} results here, not 1")
            for orphan in [r for r in results if r not in owed]:
                found.append(f"{at}: tool_result {orphan} answers no tool_use of the message before")
            open_calls = []
        elif results:
            found.append(f"{at}: a tool_result in a message of the {role}")
        if role == "assistant":
            if open_calls:
                found.append(f"{at}: tool_use without result before it: {', '.join(map(str, open_calls))}")
            for b in content:
                if b.get("type") == "tool_use":
                    open_calls = open_calls + [b.get("id")]
                    if b.get("id") in seen:
                        found.append(f"{at}: the id {b.get('id')} was used before")
                    seen.add(b.get("id"))
                    if not isinstance(b.get("input"), dict):
                        found.append(f"{at}: the input of {b.get('id')} is no object")
        last_role = role
    if open_calls:
        found.append(f"the last message leaves tool_use without result: {', '.join(map(str, open_calls))}")
    elif last_role == "assistant" and "max_tokens" in body:
        found.append("the last message is the assistant's: nothing awaits a reply (and prefill is refused)")
    return found


def unmarked(value):
    """The same without cache marks, which may move."""
    if isinstance(value, dict):
        return {k: unmarked(v) for k, v in value.items() if k != "cache_control"}
    return [unmarked(v) for v in value] if isinstance(value, list) else value


class Player:
    def __init__(self, script, log):
        self.script, self.log, self.turn, self.sent, self.refused = script, log, 0, None, 0

    def answer(self, body):
        """HTTP status, headers, body."""
        if self.log:
            print(json.dumps(body), file=self.log, flush=True)
        wrong = faults(body)
        if self.turn >= len(self.script):
            wrong.append(f"the script has only {len(self.script)} answers")
        entry = self.script[self.turn] if self.turn < len(self.script) else {}
        now = unmarked([body.get("tools"), body.get("system"), body.get("messages")])
        if self.sent and not entry.get("rewritten"):
            before = self.sent
            if before[:2] != now[:2]:
                wrong.append("tools or system text changed since the last request")
            if isinstance(now[2], list) and now[2][:len(before[2])] != before[2]:
                wrong.append("the history does not begin with what was sent before")
        if not wrong and "expect" in entry:
            newest = json.dumps(now[2][-1], ensure_ascii=False)
            if not re.search(entry["expect"], newest):
                wrong.append(f"answer {self.turn + 1} expects /{entry['expect']}/ in the newest message: {newest}")
        if wrong:
            self.refused += 1
            return self.error(400, "invalid_request_error", "; ".join(wrong))
        self.turn, self.sent = self.turn + 1, now
        if "status" in entry:
            return self.error(entry["status"], KINDS.get(entry["status"], "api_error"), "scripted",
                              entry.get("retry_after"))
        content = [{"type": "text", "text": entry["text"]}] if entry.get("text") else []
        for i, call in enumerate(entry.get("calls", [])):
            (name, args), = call.items()
            content.append({"type": "tool_use", "id": f"toolu_{self.turn:03}_{i}", "name": name, "input": args})
        size = len(json.dumps(body)) // 4
        stop = entry.get("stop") or ("tool_use" if entry.get("calls") else "end_turn")
        return 200, {}, {"id": f"msg_{self.turn:03}", "type": "message", "role": "assistant", "content": content,
                         "model": body.get("model"), "stop_reason": stop, "stop_sequence": None,
                         "usage": {"input_tokens": size, "output_tokens": len(json.dumps(content)) // 4}}

    @staticmethod
    def error(status, kind, text, retry_after=None):
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        return status, headers, {"type": "error", "error": {"type": kind, "message": text}}


def serve(args):
    """A server for the script, and what it plays with."""
    script = load(args.script)
    if not isinstance(script, list) or not all(isinstance(entry, dict) for entry in script):
        sys.exit(f"{args.script}: a script is a list of objects")
    player = Player(script, open(args.log, "a", encoding="utf-8") if args.log else None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
                known = self.path.split("?")[0] == "/v1/messages" and isinstance(body, dict)
                known = known and not body.get("stream")
                status, headers, reply = player.answer(body) if known else Player.error(
                    404, "not_found_error", f"only POST /v1/messages, not streamed; this was {self.path}")
            except ValueError as why:
                status, headers, reply = Player.error(400, "invalid_request_error", f"no JSON: {why}")
            if status == 400:
                print(f"400: {reply['error']['message']}", file=sys.stderr, flush=True)
            data = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {**headers, "content-type": "application/json", "content-length": len(data)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    try:
        return HTTPServer(("127.0.0.1", args.port), Handler), player
    except OSError as why:
        sys.exit(f"port {args.port}: {why}")


def play(args):
    server, player = serve(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        verdict(player)


def test(args):
    server, player = serve(args)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_port}", "ANTHROPIC_API_KEY": "none"}
    try:
        code = subprocess.run(args.command, env={**os.environ, **base}).returncode
    except OSError as why:
        sys.exit(f"{args.command[0]}: {why}")
    verdict(player, f"the command ended with {code}" if code else None)


def verdict(player, wrong=None):
    left = len(player.script) - player.turn
    wrong = [wrong, f"{player.refused} requests were refused" if player.refused else None,
             f"{left} of {len(player.script)} answers were never asked for" if left else None]
    sys.exit("FAIL: " + "; ".join(filter(None, wrong)) if any(wrong) else 0)


def check(args):
    body = load(args.request)
    found = faults(body if isinstance(body, dict) else {"messages": body})
    print("\n".join(found) or "no faults")
    sys.exit(1 if found else 0)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as why:
        sys.exit(f"{path}: {why}")


def main():
    parser = argparse.ArgumentParser(description="A model that plays a script; see the head of this file.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, run in (("play", play), ("test", test)):
        verb = verbs.add_parser(name)
        verb.add_argument("script")
        verb.add_argument("--port", type=int, default=0)
        verb.add_argument("--log", help="append every request body to this file, one per line")
        verb.set_defaults(run=run)
    verb.add_argument("command", nargs="+", help="after --: what to run")
    verb = verbs.add_parser("check")
    verb.add_argument("request")
    verb.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
