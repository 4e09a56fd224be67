"""What the scripts share: opening, page lists, safe writing. Not run by itself."""
import os, re, sys, tempfile

INSTALL = "python3 -m venv .venv && .venv/bin/pip install pypdf cryptography, then run this with .venv/bin/python"


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def pypdf():
    """The library, or a line that says how to get it."""
    try:
        import logging
        import pypdf
    except ImportError:
        fail(f"pypdf is not installed ({INSTALL})")
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # hundreds of lines about small faults of a file
    return pypdf


def open_pdf(path):
    """A reader, unlocked with the empty password or with PDF_PASSWORD from the environment."""
    lib = pypdf()
    try:
        reader = lib.PdfReader(path)
        if reader.is_encrypted and not any(reader.decrypt(p) for p in ("", os.environ.get("PDF_PASSWORD", ""))):
            fail(f"{path}: encrypted; put the password into the environment variable PDF_PASSWORD")
        len(reader.pages)
        return reader
    except OSError as why:
        fail(f"{path}: {why.strerror or why}")
    except lib.errors.DependencyError as why:
        fail(f"{path}: {why} ({INSTALL})")
    except Exception as why:  # a broken file breaks in a hundred ways
        fail(f"{path}: no readable PDF ({type(why).__name__}: {why}); `qpdf --check` says more, and "
             "`qpdf in.pdf out.pdf` often repairs it")


def pages_of(spec, count):
    """Indices from 0 for a list like `1-3,7,z`: pages from 1, z is the last, 5-2 runs backwards, r2 is the last but one."""
    def number(text):
        n = count if text == "z" else count + 1 - int(text[1:]) if text[0] == "r" else int(text)
        if not 1 <= n <= count:
            fail(f"page {text}: there are pages 1 to {count}")
        return n

    found = []
    for part in spec.split(","):
        match = re.fullmatch(r"(z|r?\d+)(?:(-)(z|r?\d+)?)?", part.strip())
        if not match:
            fail(f"`{part}` is no list of pages; write 1-3,7,10- or z-1")
        first = number(match[1])
        last = number(match[3] or "z") if match[2] else first
        found += range(first - 1, last) if first <= last else range(first - 1, last - 2, -1)
    return found


def save(writer, out, inputs, force):
    """Writes beside the goal, opens it again, and only then puts it in its place. Gives the new reader."""
    if os.path.exists(out):
        if any(os.path.exists(i) and os.path.samefile(out, i) for i in inputs):
            fail(f"{out} is also the input; write to another file")
        if not force:
            fail(f"{out} exists; choose another name, or --force")
    folder = os.path.dirname(os.path.abspath(out))
    try:
        handle, temporary = tempfile.mkstemp(suffix=".pdf", dir=folder)
    except OSError as why:
        fail(f"{folder}: {why.strerror}")
    try:
        with os.fdopen(handle, "wb") as file:
            writer.write(file)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        reader = pypdf().PdfReader(temporary)
        if len(reader.pages) != len(writer.pages):
            fail(f"{out}: {len(reader.pages)} pages were written, not {len(writer.pages)}")
        os.replace(temporary, out)
        return reader
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
