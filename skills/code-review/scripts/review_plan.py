#!/usr/bin/env python3
"""Prints a review plan for a change: what to read, in which order, and what to skip. Python 3.9+, git; reads only.

    review_plan.py                    what is not committed yet (with new files); if nothing, the branch against its base
    review_plan.py main...HEAD        a branch since it left main        review_plan.py HEAD~3..HEAD    the last 3 commits
    review_plan.py --staged           what the next commit would hold    review_plan.py abc123^!        one commit
    -C DIR   another repository       --json   for programs              --top N   how many files to list (40)
"""
import argparse, json, os, re, subprocess, sys
from collections import Counter
from pathlib import PurePosixPath

# Configuration may name programs that git starts (external diff, text conversion, file monitor): not in a review.
GIT = ["git", "--no-optional-locks", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]
DIFF = ["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--submodule=short", "-M"]

LOCKS = {"cargo.lock": "cargo.toml", "package-lock.json": "package.json", "npm-shrinkwrap.json": "package.json",
         "yarn.lock": "package.json", "pnpm-lock.yaml": "package.json", "bun.lock": "package.json",
         "bun.lockb": "package.json", "deno.lock": "deno.json", "poetry.lock": "pyproject.toml",
         "uv.lock": "pyproject.toml", "pdm.lock": "pyproject.toml", "pipfile.lock": "pipfile", "gemfile.lock": "gemfile",
         "composer.lock": "composer.json", "go.sum": "go.mod", "mix.lock": "mix.exs", "flake.lock": "flake.nix",
         "packages.lock.json": None, "gradle.lockfile": None, "pubspec.lock": "pubspec.yaml"}
MANIFESTS = {m for m in LOCKS.values() if m} | {"requirements.txt", "setup.py", "build.gradle", "pom.xml"}
SOURCE = set("""rs py pyi js jsx mjs cjs ts tsx mts cts go java kt kts scala c h cc cpp cxx hpp hh m mm cs fs rb php pl pm
    sh bash zsh fish ps1 swift dart ex exs erl hs ml mli clj lua r jl sql zig nim vue svelte html css scss proto graphql
    tf nix""".split())
DOCS = {"md", "mdx", "rst", "txt", "adoc", "org"}
SKIP = [
    (r"(^|/)(vendor|third_party|node_modules|\.yarn/(cache|releases))/", "vendored"),
    (r"(^|/)(dist|__generated__|generated|gen)/|\.(min\.(js|css)|pb\.(go|cc|h)|g\.dart|designer\.cs)$|_pb2(_grpc)?\.py$"
     r"|(^|/)zz_generated", "generated"),
    (r"(^|/)__snapshots__/|\.(snap|ambr)$", "snapshot: read what changed in meaning only"),
    (r"\.(png|jpe?g|gif|webp|ico|svg|pdf|woff2?|ttf|otf|zip|gz|xz|jar|wasm|so|dll|dylib|exe|bin|map)$", "asset"),
]
TEST = re.compile(r"(^|/)(tests?|__tests__|specs?|testdata|fixtures|e2e)/|(^|/)(test_[^/]*|[^/]*_tests?|[^/]*_spec"
                  r"|[^/]*\.(test|spec)|[^/]*Tests?|conftest)\.[a-z]+$")
# Where a mistake costs most, by name; points, what it is.
PLACES = [
    (4, "access", r"auth|login|session|oauth|jwt|token|password|passwd|credential|permission|polic(y|ies)|acl|rbac|sandbox"),
    (4, "crypto", r"crypt|cipher|signature|signing|hmac|tls|certificate|secret"),
    (4, "money", r"payment|billing|invoice|checkout|ledger|price|pricing|refund"),
    (4, "data shape", r"migrations?(/|$)|schema|\.sql$|\.proto$|alembic"),
    (3, "pipeline", r"(^|/)(\.github/(workflows|actions)|\.gitlab-ci|jenkinsfile|dockerfile|\.circleci|makefile|build\.rs$"
                    r"|setup\.py$|justfile)|\.tf$|(^|/)(deploy|k8s|helm)/"),
    (3, "concurrency", r"lock|mutex|thread|async|queue|worker|pool|scheduler|cache|atomic|journal"),
    (2, "outside input", r"pars(e|er|ing)|deserial|decode|upload|request|handler|route|endpoint|api|server|client|url|path"),
]
# What added lines say; points once per kind.
LINES = [
    (4, "unsafe code", r"\bunsafe\b|transmute|from_raw|ctypes|unsafeCoerce|Unsafe\."),
    (4, "runs a command", r"shell\s*=\s*True|os\.system|subprocess|child_process|exec\(|execSync|Command::new|popen|eval\("),
    (4, "query from text", r"(?i)(f[\"']|format!?\(|\+\s*|%\s*|\$\{)[^\n]{0,60}\b(select|insert|update|delete)\b|\b(select"
                           r"|insert into|update|delete from)\b[^\n]{0,80}(\{|\$\{|%s?\"|\" ?\+)"),
    (3, "trusts what it reads", r"pickle\.load|yaml\.load\(|innerHTML|dangerouslySetInnerHTML|verify\s*=\s*False|"
                                r"InsecureSkipVerify|danger_accept_invalid|pull_request_target|\|safe\b|mark_safe"),
    (5, "a secret, perhaps", r"(?i)(api[_-]?key|secret|passw(or)?d|token)[\"']?\s*[:=]\s*[\"'][^\"'\s$<{]{8,}|-----BEGIN [A-Z ]*"
                             r"PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bsk-[A-Za-z0-9-]{20,}"),
    (3, "threads or tasks", r"\b(Mutex|RwLock|Atomic\w+|spawn|unsafe impl (Send|Sync)|synchronized|threading|asyncio\.|"
                            r"select!|go func|Promise\.all|sync\.)\b"),
    (2, "deletes", r"remove_dir_all|rmtree|rm -rf|unlink|DROP (TABLE|COLUMN)|DELETE FROM|fs\.rm|os\.remove|truncate"),
    (2, "swallows errors", r"except( Exception)?:\s*(pass)?$|catch\s*(\([^)]*\))?\s*\{\s*\}|let _ = |\.ok\(\);|_ = err|"
                           r"\|\|\s*true\b|2>\s*/dev/null"),
    (2, "may panic", r"\.unwrap\(\)|\.expect\(|panic!|unreachable!|todo!|unimplemented!|process\.exit|sys\.exit"),
    (1, "silences a check", r"#!?\[allow|# ?noqa|type: ?ignore|eslint-disable|@ts-ignore|nolint|@SuppressWarnings|# ?nosec"),
    (1, "unfinished", r"\b(TODO|FIXME|XXX|HACK)\b"),
]
IN_CONFIG = {"runs a command", "trusts what it reads", "a secret, perhaps"}
SKIPPED_TEST = re.compile(r"#\[ignore|@pytest\.mark\.(skip|xfail)|@unittest\.skip|\b(it|test|describe)\.(skip|only)\(|\bxit\("
                          r"|t\.Skip|@Disabled|@Ignore")


def git(repo, *args, ok=(0,)):
    try:
        run = subprocess.run([*GIT, "-C", repo, *args], capture_output=True)
    except OSError as why:
        sys.exit(f"review_plan: git: {why}")
    if run.returncode not in ok:
        text = run.stderr.decode(errors="replace").strip().splitlines()
        sys.exit(f"review_plan: git {args[0]}: {text[0] if text else run.returncode}")
    return run.stdout.decode(errors="replace")


def known(repo, name):
    return git(repo, "rev-parse", "-q", "--verify", name + "^{commit}", ok=(0, 1, 128)).strip()


def base_of(repo):
    """The branch that this one will join, as far as can be told."""
    head = git(repo, "symbolic-ref", "-q", "--short", "refs/remotes/origin/HEAD", ok=(0, 1, 128)).strip()
    for name in filter(None, [head, "origin/main", "origin/master", "main", "master", "trunk", "develop"]):
        if known(repo, name):
            return name
    return None


def scope(repo, args):
    """Arguments for git diff, whether files that git does not know yet belong to it, and its name."""
    if args.staged:
        return ["--cached"], False, "staged changes"
    if args.range:
        return [args.range], False, args.range
    if not known(repo, "HEAD"):
        sys.exit("review_plan: no commit yet; use --staged")
    if git(repo, "status", "--porcelain", "-z"):
        return ["HEAD"], True, "uncommitted changes against HEAD, with new files"
    base = base_of(repo)
    if base and known(repo, base) != known(repo, "HEAD") and git(repo, "rev-list", "-n", "1", f"{base}..HEAD"):
        return [f"{base}...HEAD"], False, f"{base}...HEAD"
    if not known(repo, "HEAD^"):
        empty = git(repo, "hash-object", "-t", "tree", os.devnull).strip()
        return [empty, "HEAD"], False, "the only commit"
    return ["HEAD^", "HEAD"], False, "the last commit (nothing uncommitted, no branch ahead of its base)"


def numstat(repo, what):
    """path -> [added, removed, old path]; None for binary files."""
    fields, found, i = git(repo, *DIFF, "--numstat", "-z", *what, "--").split("\0"), {}, 0
    while i < len(fields) and fields[i]:
        added, removed, path = fields[i].split("\t", 2)
        old = None
        if not path:  # a rename: the two names follow
            old, path, i = fields[i + 1], fields[i + 2], i + 2
        i += 1
        found[path] = [None if added == "-" else int(added), None if removed == "-" else int(removed), old]
    return found


def states(repo, what):
    """path -> (letter, old mode, new mode)"""
    fields, found, i = git(repo, *DIFF, "--raw", "-z", *what, "--").split("\0"), {}, 0
    while i < len(fields) and fields[i].startswith(":"):
        old, new, _, _, letter = fields[i][1:].split(" ")
        i += 2 if letter[0] in "RC" else 1
        found[fields[i]] = (letter[0], old, new)
        i += 1
    return found


def added_lines(repo, what):
    """path -> the lines that the change adds"""
    found, path, body = {}, None, False
    for line in git(repo, *DIFF, "-U0", "--src-prefix=a/", "--dst-prefix=b/", *what, "--").split("\n"):
        if line.startswith("diff --git "):
            path, body = None, False
        elif line.startswith("@@"):
            body = True
        elif not body and line.startswith("+++ "):
            name = line[4:].rstrip("\t")
            path = name[2:] if name.startswith("b/") else None
        elif body and path and line.startswith("+"):
            found.setdefault(path, []).append(line[1:])
    return found


def untracked(repo, stats, changed, lines):
    top = git(repo, "rev-parse", "--show-toplevel").strip()
    for path in filter(None, git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0")):
        full = os.path.join(top, path)
        changed[path] = ("?", "0", "120000" if os.path.islink(full) else "100644")
        stats[path] = [None, None, None]
        if os.path.isfile(full) and not os.path.islink(full) and os.path.getsize(full) < 2_000_000:
            with open(full, "rb") as file:
                data = file.read()
            if b"\0" not in data[:8000]:
                lines[path] = data.decode(errors="replace").splitlines()
                stats[path] = [len(lines[path]), 0, None]


def marked(repo, paths):
    """What .gitattributes calls generated or vendored."""
    run = subprocess.run([*GIT, "-C", repo, "check-attr", "-z", "--stdin", "linguist-generated", "linguist-vendored"],
                         input="\0".join(paths).encode() + b"\0", capture_output=True)
    fields = run.stdout.decode(errors="replace").split("\0")
    return {fields[i] for i in range(0, len(fields) - 2, 3) if fields[i + 2] in ("set", "true")}


def kind_of(path, lines, generated, binary):
    """source, test, docs, other, or why it is skipped."""
    low, name = path.lower(), PurePosixPath(path).name.lower()
    ext = name.rsplit(".", 1)[-1] if "." in name else ""
    if name in LOCKS:
        return "lock"
    if path in generated:
        return "skip", "marked in .gitattributes"
    for pattern, why in SKIP:
        if re.search(pattern, low):
            return "skip", why
    if binary:
        return "skip", "binary"
    head = "\n".join(lines[:10])
    if re.search(r"@generated|DO NOT EDIT|automatically generated|auto-generated by", head, re.I):
        return "skip", "says that it is generated"
    if TEST.search(path):
        return "test"
    return "source" if ext in SOURCE else "docs" if ext in DOCS else "other"


def stem(path):
    """What a source file and its tests have in common."""
    name = PurePosixPath(path).name.split(".")[0]
    return re.sub(r"^test_|(_tests?|_spec|Tests?)$", "", name).lower()


def plan(repo, args):
    what, with_new, title = scope(repo, args)
    stats, changed, lines = numstat(repo, what), states(repo, what), added_lines(repo, what)
    if with_new:
        untracked(repo, stats, changed, lines)
    generated = marked(repo, list(stats))
    names = {PurePosixPath(p).name.lower() for p in stats}
    files, skipped, notes = [], [], []
    tested = {stem(p) for p in stats if TEST.search(p)}
    for path, (added, removed, old) in stats.items():
        letter, before, after = changed.get(path, ("M", "", ""))
        new = lines.get(path, [])
        link = after in ("120000", "160000")
        kind = "other" if link else kind_of(path, new, generated, added is None)
        churn = (added or 0) + (removed or 0)
        why, score = [], 0
        if kind == "lock":
            owner = LOCKS[PurePosixPath(path).name.lower()]
            skipped.append({"path": path, "churn": churn, "why": "lock file: check which packages came, not the lines"})
            if owner and owner not in names and letter != "D":
                notes.append(f"{path} changed, but no {owner}: ask why (an update? a tampered lock?)")
            continue
        if isinstance(kind, tuple):
            skipped.append({"path": path, "churn": churn, "why": kind[1]})
            continue
        for points, label, pattern in PLACES if kind != "docs" else []:
            if re.search(pattern, path.lower()):
                score += points if kind != "test" else 1
                why.append(label)
        inline = any(re.search(r"#\[(tokio::)?test\]|#\[cfg\(test\)\]", line) for line in new)
        for points, label, pattern in LINES if kind in ("source", "other") else []:
            if kind == "other" and label not in IN_CONFIG:
                continue
            hits = sum(1 for line in new if re.search(pattern, line))
            if hits:
                score += points
                why.append(f"{label} ({hits})" if hits > 1 else label)
        if kind == "test":
            if any(SKIPPED_TEST.search(line) for line in new):
                score, why = score + 3, why + ["a test is switched off or alone"]
            if letter == "D" or (removed or 0) > (added or 0) + 10:
                score, why = score + 3, why + ["tests removed"]
        if PurePosixPath(path).name.lower() in MANIFESTS:
            score, why = score + 3, why + ["dependencies"]
        if link:
            score, why = score + 3, why + ["a symbolic link" if after == "120000" else "a submodule"]
        if before == "100644" and after == "100755":
            score, why = score + 2, why + ["became executable"]
        if letter == "D":
            score, why = score + 1, why + ["deleted: who still uses it?"]
        if letter in "A?" and kind == "source":
            score, why = score + 1, why + ["new"]
        if kind == "source" and churn > 5 and letter != "D" and not inline and stem(path) not in tested:
            score, why = score + 2, why + ["no test touched"]
        score += 0 if kind == "docs" else min(6, churn // 40)
        files.append({"path": path, "old": old, "kind": kind, "state": letter, "added": added or 0,
                      "removed": removed or 0, "score": score, "why": why})
    files.sort(key=lambda f: (-f["score"], -(f["added"] + f["removed"]), f["path"]))
    size = sum(f["added"] + f["removed"] for f in files)
    kinds = Counter(f["kind"] for f in files)
    if kinds["source"] and not kinds["test"] and not any("#[test]" in x for ls in lines.values() for x in ls):
        notes.append("source changed and no test did: ask what proves it")
    if size > 800:
        notes.append(f"{size} lines to read: several passes, one concern each, or ask for smaller changes")
    if any(PurePosixPath(p).name == ".gitattributes" for p in stats):
        notes.append(".gitattributes changed: it decides what is skipped and how diffs look")
    moved = [f for f in files if f["old"] and f["added"] + f["removed"] == 0]
    if moved:
        notes.append(f"only moved: {len(moved)}; look for names that still point to the old place")
    return {"scope": title, "diff": "git diff " + " ".join(what), "lines": size, "kinds": dict(kinds), "files": files,
            "skipped": skipped, "notes": notes}


def safe(text):
    """Names come from the change: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def show(result, top):
    print(f"# Review plan: {safe(result['scope'])}")
    if not result["files"] and not result["skipped"]:
        print("Nothing changed.")
        return
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(result["kinds"].items()))
    print(f"{len(result['files'])} files to read ({kinds or 'none'}), {result['lines']} lines; "
          f"{len(result['skipped'])} skipped. Diff: `{safe(result['diff'])}`\n")
    for note in result["notes"]:
        print(f"! {safe(note)}")
    print("\n## Read, riskiest first\nrisk  +added -removed  file")
    for f in result["files"][:top]:
        name = f"{f['old']} -> {f['path']}" if f["old"] else f["path"]
        why = "; ".join(([f["kind"]] if f["kind"] != "source" else []) + f["why"])
        print(f"{f['score']:>4}  {'+' + str(f['added']):>6} {'-' + str(f['removed']):>6}  {safe(name)}"
              + (f"  [{why}]" if why else ""))
    if len(result["files"]) > top:
        print(f"      ... and {len(result['files']) - top} more (--top)")
    if result["skipped"]:
        print("\n## Skip")
        for f in result["skipped"][:top]:
            print(f"      {f['churn']:>5} lines  {safe(f['path'])}  [{f['why']}]")
        if len(result["skipped"]) > top:
            print(f"      ... and {len(result['skipped']) - top} more")
    print("\nThe risk is a guess from names, sizes and patterns: it orders the reading and proves nothing.")


def main():
    parser = argparse.ArgumentParser(description="Prints a review plan for a change.")
    parser.add_argument("range", nargs="?", help="as git diff takes it: main...HEAD, HEAD~3..HEAD, a commit with ^!")
    parser.add_argument("--staged", action="store_true")
    parser.add_argument("-C", dest="repo", default=".", metavar="DIR")
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.range and (args.staged or args.range.startswith("-")):
        parser.error("either a range or --staged")
    git(args.repo, "rev-parse", "--git-dir")
    result = plan(args.repo, args)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(result, args.top)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
