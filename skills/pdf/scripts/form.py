#!/usr/bin/env python3
"""List and fill the fields of a PDF form (AcroForm). Needs pypdf.

    form.py list IN.pdf [--json]                       every field: name, type, value, what it accepts, page
    form.py fill OUT.pdf IN.pdf VALUES.json [--flatten] [--force]
VALUES.json is an object: text fields take text, check boxes true or false (or the name of their state), radio buttons
and choices one of the options that `list` shows, lists that take several an array. --flatten makes the values part of
the page: no field is left. A wrong name or option is an error and nothing is written.
"""
import sys
sys.dont_write_bytecode = True
import argparse, json, os
from _common import fail, open_pdf, pypdf, save


def resolve(value):
    return value.get_object() if hasattr(value, "get_object") else value


def inherited(field, key):
    while field is not None:
        if key in field:
            return resolve(field[key])
        field = resolve(field.get("/Parent"))
    return None


def full_name(field):
    parts = []
    while field is not None:
        if "/T" in field:
            parts.append(str(field["/T"]))
        field = resolve(field.get("/Parent"))
    return ".".join(reversed(parts))


def states_of(widget):
    """The names of a button's appearances; none when it has only one picture, as a push button has."""
    normal = resolve((resolve(widget.get("/AP")) or {}).get("/N"))
    return [] if normal is None or hasattr(normal, "get_data") else [str(s) for s in normal]


def widgets_of(document):
    """page, number, widget and its field's name and type, for all fields that have a name"""
    for number, page in enumerate(document.pages, 1):
        for ref in resolve(page.get("/Annots")) or []:
            widget = resolve(ref)
            if widget and widget.get("/Subtype") == "/Widget":
                yield page, number, widget, full_name(widget), inherited(widget, "/FT")


def fields_of(reader):
    """name -> what is known; from the pages, so that fields which no list names are found too."""
    found = {}
    for _, number, widget, name, kind in widgets_of(reader):
        if not kind or not name:
            continue
        flags = int(inherited(widget, "/Ff") or 0)
        states = [s for s in states_of(widget) if s != "/Off"] if kind == "/Btn" else []
        f = found.setdefault(name, {"name": name, "type": None, "value": None, "options": [], "page": number,
                                    "widgets": 0, "flags": []})
        f["widgets"] += 1
        value = inherited(widget, "/V")
        f["value"] = plain(value)
        if kind == "/Tx":
            f["type"] = "text"
            limit = inherited(widget, "/MaxLen")
            f.update({"max_length": int(limit)} if limit else {})
            f["flags"] += ["multiline"] if flags & 1 << 12 else []
        elif kind == "/Btn":
            f["type"] = "button" if flags & 1 << 16 else "radio" if flags & 1 << 15 else "check box"
            f["options"] += [s.lstrip("/") for s in states if s.lstrip("/") not in f["options"]]
        elif kind == "/Ch":
            f["type"] = "choice" if flags & 1 << 17 else "list"
            f["options"] = [plain(resolve(o)[0]) if isinstance(resolve(o), list) else plain(o)
                            for o in inherited(widget, "/Opt") or []]
            f["labels"] = [plain(resolve(o)[1]) if isinstance(resolve(o), list) else plain(o)
                           for o in inherited(widget, "/Opt") or []]
            f["flags"] += ["free text allowed"] if flags & 1 << 18 else []
            f["flags"] += ["several"] if flags & 1 << 21 else []
        else:
            f["type"] = "signature"
        f["flags"] += ["read only"] if flags & 1 else []
        f["flags"] += ["required"] if flags & 2 else []
        if widget.get("/TU"):
            f["tooltip"] = str(widget["/TU"])
    for f in found.values():
        f["flags"] = sorted(set(f["flags"]))
    return found


def plain(value):
    value = resolve(value)
    if value is None:
        return None
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    text = str(value)
    return text.lstrip("/") if text.startswith("/") and type(value).__name__ == "NameObject" else text


def wanted(fields, values):
    """What to hand to the library; every fault of the values at once."""
    ready, wrong = {}, []
    for name, value in values.items():
        f = fields.get(name)
        if f is None:
            near = [n for n in fields if name.lower() in n.lower() or n.lower().endswith("." + name.lower())]
            wrong.append(f"no field `{name}`" + (f"; perhaps {', '.join(near[:3])}" if near else ""))
        elif f["type"] in ("button", "signature"):
            wrong.append(f"`{name}` is a {f['type']}, which holds no value")
        elif f["type"] in ("check box", "radio"):
            if isinstance(value, bool) and f["type"] == "check box":
                value = (f["options"] or ["Yes"])[0] if value else "Off"
            value = str(value).lstrip("/")
            if value != "Off" and value not in f["options"]:
                wrong.append(f"`{name}` takes {', '.join(f['options'] + ['Off'])}, not {value!r}")
            ready[name] = "/" + value
        elif f["type"] in ("choice", "list"):
            several = value if isinstance(value, list) else [value]
            byname = dict(zip(f["labels"], f["options"]))
            several = [v if v in f["options"] else byname.get(v, v) for v in map(str, several)]
            if "free text allowed" not in f["flags"]:
                wrong += [f"`{name}` takes {', '.join(map(str, f['options']))}, not {v!r}"
                          for v in several if v not in f["options"]]
            if len(several) > 1 and "several" not in f["flags"]:
                wrong.append(f"`{name}` takes one option")
            ready[name] = several if len(several) != 1 else several[0]
        elif isinstance(value, (dict, list, bool)) or value is None:
            wrong.append(f"`{name}` takes text, not {json.dumps(value)}")
        else:
            ready[name] = str(value)
            if f.get("max_length") and len(str(value)) > f["max_length"]:
                wrong.append(f"`{name}` takes {f['max_length']} characters, not {len(str(value))}")
    if wrong:
        fail("; ".join(wrong))
    return ready


def latin(text):
    return all(ord(c) < 256 for c in text)


def put(lib, writer, fields, ready):
    """Sets the values and draws them."""
    name_of, text_of = lib.generic.NameObject, lib.generic.TextStringObject
    drawn = {}
    undrawn = bool(resolve(writer.root_object["/AcroForm"]).get("/NeedAppearances"))
    if undrawn:  # what stood there was never drawn either
        kept = {n: f["value"] or "" for n, f in fields.items() if f["type"] in ("text", "choice")}
        ready = {**kept, **ready}
    for name, value in ready.items():
        if fields[name]["type"] in ("text", "choice", "list"):
            labels = dict(zip(fields[name]["options"], fields[name].get("labels", [])))
            drawn[name] = labels.get(value, value) if isinstance(value, str) else value
    for page in writer.pages:
        if drawn and "/Annots" in page:
            writer.update_page_form_field_values(page, drawn, auto_regenerate=False)
    for _, _, widget, name, kind in widgets_of(writer):
        if kind == "/Btn" and undrawn and "/MK" in widget and states_of(widget) and "/Off" not in states_of(widget):
            resolve(widget["/AP"]["/N"])[name_of("/Off")] = box(lib, writer, widget, False)
        if name not in ready:
            continue
        field = widget
        while "/T" not in field:
            field = resolve(field["/Parent"])
        if kind == "/Btn":  # the value is a name, and each button of a group shows its own state
            field[name_of("/V")] = name_of(ready[name])
            if widget is not field and "/V" in widget:
                del widget["/V"]
            on = ready[name] in states_of(widget) and ready[name] != "/Off"
            widget[name_of("/AS")] = name_of(ready[name] if on else "/Off")
            if on and not hasattr(resolve(resolve(resolve(widget["/AP"])["/N"])[ready[name]]), "get_data"):
                resolve(resolve(widget["/AP"])["/N"])[name_of(ready[name])] = box(lib, writer, widget, True)
        elif kind == "/Ch" and drawn[name] != ready[name]:  # shown is the label, kept is the option
            field[name_of("/V")] = text_of(ready[name])


def box(lib, writer, widget, ticked):
    """The picture of a check box that brings none."""
    g, r = lib.generic, [float(x) for x in widget["/Rect"]]
    w, h = abs(r[2] - r[0]), abs(r[3] - r[1])
    tick = f"1.2 w {w * 0.22:.2f} {h * 0.5:.2f} m {w * 0.42:.2f} {h * 0.25:.2f} l {w * 0.8:.2f} {h * 0.78:.2f} l S"
    stream = g.DecodedStreamObject()
    stream.set_data(f"q 0 G 0.7 w 0.35 0.35 {w - 0.7:.2f} {h - 0.7:.2f} re S {tick if ticked else ''} Q".encode())
    stream[g.NameObject("/Subtype")] = g.NameObject("/Form")
    stream[g.NameObject("/BBox")] = g.ArrayObject(g.FloatObject(x) for x in (0, 0, w, h))
    return writer._add_object(stream)


def flatten(lib, writer):
    """Draws every field's appearance onto its page and takes the fields away."""
    g = lib.generic
    count = 0
    for page in writer.pages:
        drawing = []
        for ref in resolve(page.get("/Annots")) or []:
            widget = resolve(ref)
            if not widget or widget.get("/Subtype") != "/Widget" or int(widget.get("/F", 0)) & 0b100010:  # hidden
                continue
            normal = (resolve(widget.get("/AP")) or {}).get("/N")
            if normal is not None and not hasattr(resolve(normal), "get_data"):
                normal = resolve(normal).get(widget.get("/AS", "/Off"))
            stream = resolve(normal)
            if stream is None or "/BBox" not in stream:
                continue
            # The picture's own box, turned by its matrix, is fitted into the field's box (PDF 32000, 12.5.5).
            a, b, c, d, e, f = (float(x) for x in stream.get("/Matrix", (1, 0, 0, 1, 0, 0)))
            x0, y0, x1, y1 = (float(x) for x in stream["/BBox"])
            xs, ys = zip(*((a * x + c * y + e, b * x + d * y + f) for x in (x0, x1) for y in (y0, y1)))
            rect = [float(x) for x in widget["/Rect"]]
            left, right, low, high = *sorted(rect[::2]), *sorted(rect[1::2])
            wide, tall = max(xs) - min(xs), max(ys) - min(ys)
            if not (wide and tall):
                continue
            sx, sy = (right - left) / wide, (high - low) / tall
            count += 1
            name = f"/FlatField{count}"
            stream[g.NameObject("/Subtype")] = g.NameObject("/Form")
            resources = page.setdefault(g.NameObject("/Resources"), g.DictionaryObject()).get_object()
            objects = resources.setdefault(g.NameObject("/XObject"), g.DictionaryObject()).get_object()
            objects[g.NameObject(name)] = stream.indirect_reference or writer._add_object(stream)
            drawing.append(f"q {sx:.6f} 0 0 {sy:.6f} {left - min(xs) * sx:.4f} {low - min(ys) * sy:.4f} cm {name} Do Q")
        if drawing:
            old = page.get("/Contents")
            parts = [] if old is None else list(resolve(old)) if isinstance(resolve(old), list) else [old]
            around = []
            for text in ("q\n", "\nQ\n" + "\n".join(drawing) + "\n"):
                stream = g.DecodedStreamObject()
                stream.set_data(text.encode())
                around.append(writer._add_object(stream))
            page[g.NameObject("/Contents")] = g.ArrayObject([around[0], *parts, around[1]])
    writer.remove_annotations(subtypes="/Widget")
    del writer.root_object["/AcroForm"]


def fill(args):
    lib, reader = pypdf(), open_pdf(args.input)
    fields = fields_of(reader)
    if not fields:
        fail(f"{args.input}: no form fields (a printed form? write onto the page instead)")
    try:
        with open(args.values, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError) as why:
        fail(f"{args.values}: {why}")
    if not isinstance(values, dict):
        fail(f"{args.values}: an object of names and values is needed")
    ready = wanted(fields, values)
    locked = [n for n in ready if "read only" in fields[n]["flags"]]
    if locked:
        print(f"note: read only, filled all the same: {', '.join(locked)}", file=sys.stderr)
    if "/XFA" in (resolve(reader.root_object.get("/AcroForm")) or {}):
        print("note: the form also holds XFA, which is taken out: it would hide the values", file=sys.stderr)
    odd = [n for n, v in ready.items() if fields[n]["type"] == "text" and not latin(v)]
    if odd:
        print(f"note: letters outside Latin-1 may not be drawn, look at the page: {', '.join(odd)}", file=sys.stderr)
    lists = [n for n in ready if fields[n]["type"] == "list"]
    if lists and args.flatten:
        print(f"note: lists are drawn whole, without a mark at the chosen entry: {', '.join(lists)}", file=sys.stderr)
    writer = lib.PdfWriter(clone_from=reader)
    form = resolve(writer.root_object.get("/AcroForm"))
    if form is None or "/Fields" not in form:
        fail(f"{args.input}: its fields belong to no form (no /AcroForm); `qpdf in.pdf out.pdf` may repair it")
    if "/XFA" in form:
        del form["/XFA"]
    put(lib, writer, fields, ready)
    if args.flatten:
        flatten(lib, writer)
    result = save(writer, args.out, [args.input], args.force)
    if args.flatten:
        print(f"{args.out}: {len(values)} fields filled, flattened; look at it rendered before you hand it on")
        return
    now = fields_of(result)
    def listed(value):
        return [str(v).lstrip("/") for v in (value if isinstance(value, list) else [value])]

    lost = [n for n, v in ready.items() if listed(now[n]["value"]) != listed(v)]
    if lost:
        fail(f"{args.out} was written, but these do not hold their value: {', '.join(lost)}")
    empty = [n for n, f in now.items() if "required" in f["flags"] and f["value"] in (None, "", "Off")]
    print(f"{args.out}: {len(values)} fields filled and read back"
          + (f"; required and empty: {', '.join(empty)}" if empty else ""))


def listing(args):
    fields = fields_of(open_pdf(args.input))
    if args.json:
        print(json.dumps(list(fields.values()), indent=1, ensure_ascii=False))
        return
    if not fields:
        print("no form fields")
    for f in fields.values():
        more = [f"options: {', '.join(map(str, f['options']))}"] if f["options"] else []
        if f.get("labels") and f["labels"] != f["options"]:
            more.append(f"shown as: {', '.join(map(str, f['labels']))}")
        more += [f"at most {f['max_length']}"] if f.get("max_length") else []
        more += f["flags"] + ([f"\"{f['tooltip']}\""] if f.get("tooltip") else [])
        print(f"p{f['page']}  {f['name']}  ({f['type']})  = {f['value']!r}" + (f"  [{'; '.join(more)}]" * bool(more)))


def main():
    parser = argparse.ArgumentParser(description="List and fill the fields of a PDF form.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("list")
    verb.add_argument("input")
    verb.add_argument("--json", action="store_true")
    verb.set_defaults(run=listing)
    verb = verbs.add_parser("fill")
    for name in ("out", "input", "values"):
        verb.add_argument(name)
    verb.add_argument("--flatten", action="store_true")
    verb.add_argument("--force", action="store_true")
    verb.set_defaults(run=fill)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
