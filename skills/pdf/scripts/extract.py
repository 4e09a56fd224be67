#!/usr/bin/env python3
"""Text and tables out of a PDF, page by page.

    extract.py text IN.pdf [--pages 1-3,z] [--layout]     uses pdftotext, else pypdf; each page begins with a line of its number
    extract.py tables IN.pdf OUTDIR [--pages ...]         one CSV file per table; needs pdfplumber
    extract.py words IN.pdf --pages 3                     every word with its place in points from the top left; pdfplumber
Pages without text are named on standard error, and the status is 3 when no page has any. Password: PDF_PASSWORD.
"""
import sys
sys.dont_write_bytecode = True
import argparse, csv, os, shutil, subprocess
from _common import fail, open_pdf, pages_of


def page_count(path):
    try:
        return len(open_pdf(path).pages)
    except SystemExit:
        if not shutil.which("pdfinfo"):
            raise
        info = subprocess.run(["pdfinfo", *secret("-upw"), "--" if path.startswith("-") else path],
                              capture_output=True, text=True, errors="replace")
        pages = [line.split()[1] for line in info.stdout.splitlines() if line.startswith("Pages:")]
        if not pages:
            raise
        return int(pages[0])


def secret(option):
    return [option, os.environ["PDF_PASSWORD"]] if os.environ.get("PDF_PASSWORD") else []


def one_page(path, number, layout, reader):
    if reader is None:
        run = subprocess.run(["pdftotext", "-enc", "UTF-8", "-f", str(number), "-l", str(number),
                              *(["-layout"] if layout else []), *secret("-upw"), path, "-"],
                             capture_output=True, text=True, encoding="utf-8", errors="replace")
        if run.returncode:
            fail(f"{path}: pdftotext: {(run.stderr.strip().splitlines() or [run.returncode])[-1]}")
        return run.stdout.rstrip("\f\n")
    return reader.pages[number - 1].extract_text(extraction_mode="layout" if layout else "plain").rstrip()


def text(args):
    # The page numbers stand in the output, so that an answer can name its page.
    reader = None if shutil.which("pdftotext") else open_pdf(args.input)
    count = len(reader.pages) if reader else page_count(args.input)
    empty, chosen = [], [n + 1 for n in pages_of(args.pages, count)]
    for number in chosen:
        content = one_page(args.input, number, args.layout, reader)
        print(f"===== page {number} of {count} =====\n{content}\n")
        if not content.strip():
            empty.append(number)
    if empty:
        print(f"note: no text on {len(empty)} of {len(chosen)} pages ({', '.join(map(str, empty[:20]))}"
              f"{' ...' if len(empty) > 20 else ''}): scans? inspect_pdf.py says", file=sys.stderr)
    sys.exit(3 if len(empty) == len(chosen) else 0)


def plumber(path):
    try:
        import logging
        import pdfplumber
    except ImportError:
        fail("pdfplumber is not installed (python3 -m venv .venv && .venv/bin/pip install pdfplumber, then run this "
             "with .venv/bin/python); without it: pdftotext -layout, and split the lines at two or more spaces")
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    try:
        return pdfplumber.open(path, password=os.environ.get("PDF_PASSWORD") or "")
    except Exception as why:
        fail(f"{path}: {type(why).__name__}: {why}")


def real_tables(found):
    """Without empty rows and columns; what has a single column left is no table but a frame."""
    for rows in found:
        rows = [["" if cell is None else cell.strip() for cell in row] for row in rows]
        rows = [row for row in rows if any(row)]
        used = [i for i in range(max(map(len, rows), default=0)) if any(i < len(row) and row[i] for row in rows)]
        if len(used) > 1:
            yield [[row[i] if i < len(row) else "" for i in used] for row in rows]


def tables(args):
    with plumber(args.input) as pdf:
        chosen = pages_of(args.pages, len(pdf.pages))
        os.makedirs(args.outdir, exist_ok=True)
        total = 0
        for number in chosen:
            page = pdf.pages[number]
            found, how = list(real_tables(page.extract_tables())), "lines"
            if not found and args.guess:  # no ruling: columns from the gaps between words
                found = list(real_tables(page.extract_tables({"vertical_strategy": "text",
                                                              "horizontal_strategy": "text"})))
                how = "guessed from gaps"
            for n, rows in enumerate(found, 1):
                goal = os.path.join(args.outdir, f"page{number + 1:03}-table{n}.csv")
                with open(goal, "w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows(rows)
                first = " | ".join(rows[0])[:100]
                print(f"{goal}: {len(rows)} rows, {max(map(len, rows))} columns ({how}); first: {first}")
                total += 1
            page.close()
    if not total:
        print("no tables found" + ("" if args.guess else " by their lines; --guess takes columns from the gaps between words"),
              file=sys.stderr)
        sys.exit(3)


def words(args):
    with plumber(args.input) as pdf:
        print("page\tx0\ttop\tx1\tbottom\tword")
        for number in pages_of(args.pages, len(pdf.pages)):
            for w in pdf.pages[number].extract_words():
                print(f"{number + 1}\t{w['x0']:.1f}\t{w['top']:.1f}\t{w['x1']:.1f}\t{w['bottom']:.1f}\t{w['text']}")


def main():
    parser = argparse.ArgumentParser(description="Text and tables out of a PDF.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, run in (("text", text), ("tables", tables), ("words", words)):
        verb = verbs.add_parser(name)
        verb.add_argument("input")
        verb.add_argument("--pages", default="1-")
        verb.set_defaults(run=run)
        if name == "text":
            verb.add_argument("--layout", action="store_true", help="keep columns where they stand")
        elif name == "tables":
            verb.add_argument("outdir")
            verb.add_argument("--guess", action="store_true", help="tables without lines, too")
    args = parser.parse_args()
    if not os.path.isfile(args.input):
        fail(f"{args.input}: no such file")
    try:
        args.run(args)
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as why:
        fail(f"{why.filename or args.input}: {why.strerror}")


if __name__ == "__main__":
    main()
