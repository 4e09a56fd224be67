#!/usr/bin/env python3
"""Merge, split, reorder, rotate, interleave, unlock. Needs pypdf. Never changes its input, never overwrites unasked.

    merge_split.py merge OUT A.pdf B.pdf:1-3,7 C.pdf:z-1     pages from 1; z is the last, r2 the last but one, z-1 backwards
    merge_split.py pages OUT IN.pdf 5-10,1                   only these, in this order
    merge_split.py delete OUT IN.pdf 2,4-6                   all but these
    merge_split.py split OUTDIR IN.pdf [--every N]           IN-001.pdf, IN-002.pdf ... of N pages each (1)
    merge_split.py rotate OUT IN.pdf 90 [PAGES]              clockwise, added to the rotation that is there
    merge_split.py interleave OUT FRONTS.pdf BACKS.pdf       double-sided scans; --backwards when the backs lie in reverse
    merge_split.py unlock OUT IN.pdf                         without its password, which you must know
A password is read from the environment variable PDF_PASSWORD. --force overwrites OUT.
"""
import sys
sys.dont_write_bytecode = True
import argparse, os
from _common import fail, open_pdf, pages_of, pypdf, save


def warn(text):
    print(f"note: {text}", file=sys.stderr)


def new_writer():
    return pypdf().PdfWriter()


def source(text):
    """`file.pdf:1-3` or `file.pdf`, also when the name holds a colon."""
    if os.path.exists(text) or ":" not in text:
        return text, None
    path, spec = text.rsplit(":", 1)
    return path, spec


def has_form(reader):
    return bool(reader.root_object.get("/AcroForm")) and bool(reader.get_fields())


def tell_losses(reader, path):
    root = reader.root_object
    form = root.get("/AcroForm")
    if form and any(f.get("/FT") == "/Sig" and f.get("/V") for f in (reader.get_fields() or {}).values()):
        warn(f"{path} is signed; the result is not")
    if list(reader.attachments):
        warn(f"{path} has attachments; they are not carried over")


def merge(args):
    writer, paths, readers = new_writer(), [], []
    for text in args.inputs:
        path, spec = source(text)
        reader = open_pdf(path)
        readers.append((path, reader, pages_of(spec or "1-", len(reader.pages))))
        paths.append(path)
    forms = [path for path, reader, _ in readers if has_form(reader)]
    for n, (path, reader, pages) in enumerate(readers, 1):
        tell_losses(reader, path)
        if len(forms) > 1 and path in forms:  # fields of the same name would become one field
            reader.add_form_topname(f"part{n}")
        writer.append(reader, pages=pages)
    if len(forms) > 1:
        warn("several inputs hold forms; their fields are now called part1.NAME, part2.NAME ...")
    return writer, paths


def chosen(args, pages):
    reader = open_pdf(args.input)
    tell_losses(reader, args.input)
    writer = new_writer()
    writer.append(reader, pages=pages(len(reader.pages)))
    return writer, [args.input]


def delete(args):
    def rest(count):
        gone = set(pages_of(args.spec, count))
        kept = [n for n in range(count) if n not in gone]
        return kept or fail("no page would be left")
    return chosen(args, rest)


def split(args):
    reader = open_pdf(args.input)
    tell_losses(reader, args.input)
    if args.every < 1:
        fail("--every takes a number from 1 on")
    os.makedirs(args.out, exist_ok=True)
    name, count = os.path.splitext(os.path.basename(args.input))[0], len(reader.pages)
    starts = range(0, count, args.every)
    goals = [os.path.join(args.out, f"{name}-{n:0{max(3, len(str(len(starts))))}}.pdf") for n in range(1, len(starts) + 1)]
    there = [goal for goal in goals if os.path.exists(goal)]
    if there and not args.force:
        fail(f"{there[0]} exists; choose another folder, or --force")
    for goal, start in zip(goals, starts):
        writer = new_writer()
        writer.append(reader, pages=list(range(start, min(start + args.every, count))), import_outline=False)
        save(writer, goal, [args.input], args.force)
    print(f"{len(goals)} files in {args.out}, {os.path.basename(goals[0])} to {os.path.basename(goals[-1])}")


def rotate(args):
    if args.angle % 90:
        fail("the angle is a multiple of 90")
    writer, paths = chosen(args, lambda count: list(range(count)))
    for n in set(pages_of(args.spec, len(writer.pages))):
        writer.pages[n].rotate(args.angle)
    return writer, paths


def interleave(args):
    fronts, backs = open_pdf(args.fronts), open_pdf(args.backs)
    f, b = len(fronts.pages), len(backs.pages)
    if f - b not in (0, 1):
        fail(f"{f} fronts and {b} backs do not go together")
    order, writer = list(range(b)), new_writer()
    if args.backwards:
        order.reverse()
    for n in range(f):
        writer.append(fronts, pages=[n], import_outline=False)
        if n < b:
            writer.append(backs, pages=[order[n]], import_outline=False)
    return writer, [args.fronts, args.backs]


def main():
    parser = argparse.ArgumentParser(description="Merge, split, reorder, rotate, interleave, unlock.",
                                     epilog="Pages count from 1: 1-3,7,10- ; z is the last, r2 the last but one, z-1 backwards.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name, run, *names):
        sub = verbs.add_parser(name)
        sub.set_defaults(run=run)
        sub.add_argument("out")
        for n in names:
            sub.add_argument(n)
        sub.add_argument("--force", action="store_true")
        return sub

    verb("merge", merge).add_argument("inputs", nargs="+", metavar="IN[:PAGES]")
    verb("pages", lambda a: chosen(a, lambda count: pages_of(a.spec, count)), "input", "spec")
    verb("delete", delete, "input", "spec")
    verb("split", split, "input").add_argument("--every", type=int, default=1)
    sub = verb("rotate", rotate, "input")
    sub.add_argument("angle", type=int)
    sub.add_argument("spec", nargs="?", default="1-")
    verb("interleave", interleave, "fronts", "backs").add_argument("--backwards", action="store_true")
    verb("unlock", lambda a: chosen(a, lambda count: list(range(count))), "input")
    args = parser.parse_args()
    try:
        done = args.run(args)
        if done:
            writer, inputs = done
            reader = save(writer, args.out, inputs, args.force)
            print(f"{args.out}: {len(reader.pages)} pages")
    except OSError as why:
        fail(f"{why.filename or args.out}: {why.strerror}")
    except Exception as why:
        fail(f"{type(why).__name__}: {why}; try `qpdf in.pdf repaired.pdf` first")


if __name__ == "__main__":
    main()
