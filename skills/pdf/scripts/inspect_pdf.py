#!/usr/bin/env python3
"""What kind of PDF is it? Pages, encryption, text or scans, forms, and what to do next. Needs pypdf.

    inspect_pdf.py FILE [--json] [--all]      looks at 40 pages spread over the file, or at --all
A password is read from the environment variable PDF_PASSWORD.
"""
import sys
sys.dont_write_bytecode = True
import argparse, json, os, re
from collections import Counter
from _common import fail, open_pdf, pypdf


def resolve(value):
    return value.get_object() if hasattr(value, "get_object") else value


def walk(resources, images, fonts, seen, depth=0):
    """The images and fonts that a page uses, also through form objects."""
    resources = resolve(resources) or {}
    for name, font in (resolve(resources.get("/Font")) or {}).items():
        fonts.append(resolve(font))
    for name, ref in (resolve(resources.get("/XObject")) or {}).items():
        key = getattr(ref, "idnum", None) or (depth, name)
        if key in seen or depth > 8:
            continue
        seen.add(key)
        thing = resolve(ref)
        if thing.get("/Subtype") == "/Image":
            images.append((int(thing.get("/Width", 0)), int(thing.get("/Height", 0))))
        elif thing.get("/Subtype") == "/Form":
            if b" Tr" in (data := thing.get_data()) and re.search(rb"\b3\s+Tr\b", data):
                seen.add("invisible")
            walk(thing.get("/Resources"), images, fonts, seen, depth + 1)


def garbled(text):
    """How much of the text cannot be what is printed: private codes, controls, replacement signs, bare glyph numbers."""
    if not text:
        return 0.0
    bad = sum(1 for c in text if c == "\ufffd" or "\ue000" <= c <= "\uf8ff" or (c < " " and c not in "\n\t\r\f"))
    bad += sum(len(m) for m in re.findall(r"\(cid:\d+\)|/[gG]\d{1,4}\b|/uni[0-9A-F]{4}", text))
    return bad / len(text)


def font_problems(font):
    """Why the text of this font may come out wrong, or look wrong elsewhere."""
    name = str(font.get("/BaseFont", font.get("/Subtype", "?"))).lstrip("/")
    inner = resolve((resolve(font.get("/DescendantFonts")) or [font])[0])
    descriptor = resolve(inner.get("/FontDescriptor")) or {}
    embedded = font.get("/Subtype") == "/Type3" or any("/FontFile" + n in descriptor for n in ("", "2", "3"))
    identity = font.get("/Subtype") == "/Type0" and "Identity" in str(resolve(font.get("/Encoding")))
    unmapped = "/ToUnicode" not in font and (identity or font.get("/Subtype") == "/Type3")
    return name, embedded, unmapped


def look(page):
    images, fonts, seen = [], [], set()
    walk(page.get("/Resources"), images, fonts, seen)
    try:
        text = page.extract_text() or ""
    except Exception:
        text = ""
    contents = page.get_contents()
    data = contents.get_data() if contents is not None else b""  # an empty dictionary is false
    invisible = "invisible" in seen or re.search(rb"\b3\s+Tr\b", data) is not None
    if re.search(rb"\bBI\s[^\x80-\xff]{0,400}?\bID\s", data):
        images.append((0, 0))
    width, height = float(page.mediabox.width), float(page.mediabox.height)
    # 60 dots per inch over a whole page: less is a picture in the text, more is a scan.
    big = any(w * h > max(100_000, width * height * (60 / 72) ** 2) for w, h in images)
    chars = len("".join(text.split()))
    if chars >= 20:
        kind = "garbled" if garbled(text) > 0.1 else "scan with text layer" if big and invisible else "text"
    elif big:
        kind = "scan"
    else:
        kind = "little text" if chars else "picture" if images else "drawing" if len(data) > 200 else "empty"
    return {"kind": kind, "chars": chars, "images": len(images), "rotation": page.rotation or 0,
            "size": f"{width:.0f}x{height:.0f}", "fonts": fonts}


def advice(report):
    kinds, steps = report["kinds"], []
    if report["xfa"]:
        steps.append("XFA form: most tools see only a placeholder page; ask for a plain (AcroForm) copy or use Acrobat")
    if kinds.get("scan"):
        steps.append("scanned pages hold no text: OCR first (ocrmypdf --skip-text in.pdf out.pdf)")
    if kinds.get("garbled"):
        steps.append("the text layer is garbled: do not trust extraction; redo it (ocrmypdf --force-ocr in.pdf out.pdf)")
    if kinds.get("scan with text layer"):
        steps.append("the text is somebody's OCR: check names, digits and columns against the picture")
    if kinds.get("drawing") or kinds.get("picture"):
        steps.append("pages without text that are not empty: render them (pdftoppm -r 100 -png) and look, or OCR them")
    if report["signatures"]:
        steps.append("signed: every change breaks the signature; work on a copy and say so")
    if report["fields"]:
        steps.append(f"a form of {report['fields']} fields: form.py list")
    if report["unmapped_fonts"]:
        steps.append("some fonts do not say which letters they hold (no ToUnicode): compare a page with its picture")
    return steps or ["plain text: extract.py text"]


def inspect(path, everything):
    lib, reader = pypdf(), open_pdf(path)
    count = len(reader.pages)
    step = 1 if everything or count <= 40 else count / 40
    chosen = sorted({min(count - 1, int(i * step)) for i in range(count if step == 1 else 40)})
    pages, fonts, missing, unmapped, broken = {}, set(), set(), set(), []
    for i in chosen:
        try:
            page = look(reader.pages[i])
        except Exception as why:
            broken.append(f"{i + 1}: {type(why).__name__}: {why}")
            continue
        for font in page.pop("fonts"):
            try:
                name, embedded, bad = font_problems(font)
            except Exception:
                continue
            fonts.add(name)
            missing |= set() if embedded else {name}
            unmapped |= {name} if bad else set()
        pages[i + 1] = page
    root = reader.root_object
    form = resolve(root.get("/AcroForm")) or {}
    try:
        fields = reader.get_fields() or {}
    except Exception:
        fields = {}
    terminal = {n: f for n, f in fields.items() if f.get("/FT")}
    meta = {k.lstrip("/"): str(v)[:200] for k, v in (reader.metadata or {}).items()}
    try:
        names = list(reader.attachments)
    except Exception:
        names = []
    try:
        outline = sum(1 for _ in flat(reader.outline))
    except Exception:
        outline = 0
    rights = reader.user_access_permissions if reader.is_encrypted else None
    report = {
        "file": path, "bytes": os.path.getsize(path), "version": reader.pdf_header, "pages": count,
        "looked_at": len(chosen), "encrypted": reader.is_encrypted,
        "may": None if rights is None else [r.name for r in lib.constants.UserAccessPermissions
                                            if r in rights and not re.fullmatch(r"R\d+", r.name)],
        "kinds": dict(Counter(p["kind"] for p in pages.values())),
        "by_kind": {k: ranges([n for n, p in pages.items() if p["kind"] == k])
                    for k in {p["kind"] for p in pages.values()}},
        "sizes": dict(Counter(p["size"] for p in pages.values()).most_common(5)),
        "rotated": ranges([n for n, p in pages.items() if p["rotation"]]),
        "fields": len(terminal), "xfa": "/XFA" in form,
        "signatures": sum(1 for f in terminal.values() if f.get("/FT") == "/Sig" and f.get("/V")),
        "fonts": sorted(fonts), "not_embedded": sorted(missing), "unmapped_fonts": sorted(unmapped),
        "outline": outline, "attachments": names, "tagged": bool((resolve(root.get("/MarkInfo")) or {}).get("/Marked")),
        "javascript": "/JavaScript" in (resolve(root.get("/Names")) or {})
                      or "/JS" in (resolve(root.get("/OpenAction")) or {}),
        "metadata": meta, "broken_pages": broken,
    }
    report["next"] = advice(report)
    return report


def flat(outline):
    for item in outline:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def ranges(numbers):
    parts, start, last = [], None, None
    for n in [*sorted(numbers), None]:
        if start is not None and n != last + 1 if n is not None else start is not None:
            parts.append(f"{start}" if start == last else f"{start}-{last}")
            start = None
        start, last = (n if start is None else start), n
    return ",".join(parts)


def show(r):
    def line(name, text):
        if text not in (None, "", 0, [], {}):
            print(f"{name + ':':14}{text}")
    line("file", f"{r['file']} ({r['bytes']:,} bytes, {r['version']})")
    part = r["looked_at"] < r["pages"]
    line("pages", f"{r['pages']}" + (f", {r['looked_at']} of them looked at (--all for every one)" if part else ""))
    most = max(r["kinds"], key=r["kinds"].get, default="")
    line("content", "; ".join(f"{k}: " + (f"{r['kinds'][k]} pages" if part and k == most else v)
                              for k, v in sorted(r["by_kind"].items())))
    line("sizes", ", ".join(f"{k} pt ({v})" for k, v in r["sizes"].items()))
    line("rotated", r["rotated"])
    if r["encrypted"]:
        line("encrypted", "yes, and opened; it allows: " + (", ".join(r["may"]).lower() or "nothing"))
    line("form", f"{r['fields']} fields" + (", XFA" if r["xfa"] else "") if r["fields"] or r["xfa"] else "")
    line("signatures", r["signatures"])
    for name, fonts in (("not embedded", r["not_embedded"]), ("no ToUnicode", r["unmapped_fonts"])):
        line(name, ", ".join(fonts[:6]) + (f" and {len(fonts) - 6} more" if len(fonts) > 6 else ""))
    line("outline", f"{r['outline']} entries" if r["outline"] else "")
    line("attachments", ", ".join(r["attachments"]))
    line("javascript", "yes" if r["javascript"] else "")
    for key in ("Title", "Author", "Creator", "Producer", "CreationDate"):
        line(key.lower(), r["metadata"].get(key))
    for text in r["broken_pages"][:5]:
        line("broken page", text)
    for text in r["next"]:
        line("next", text)


def main():
    parser = argparse.ArgumentParser(description="What kind of PDF is it?")
    parser.add_argument("file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--all", action="store_true", help="every page, not 40 spread over the file")
    args = parser.parse_args()
    try:
        report = inspect(args.file, args.all)
    except RecursionError:
        fail(f"{args.file}: nested too deeply; try `qpdf in.pdf out.pdf` first")
    if args.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        show(report)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
