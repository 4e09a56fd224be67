#!/usr/bin/env python3
"""Which PDF tools are here, and which to take for what. Python standard library only; installs nothing.

    check_tools.py [--json]
"""
import importlib.metadata, json, platform, shutil, subprocess, sys

PROGRAMS = {"pdftotext": "-v", "pdftoppm": "-v", "pdfinfo": "-v", "pdfimages": "-v", "qpdf": "--version", "mutool": "-v",
            "gs": "--version", "ocrmypdf": "--version", "tesseract": "--version", "soffice": None, "pandoc": "--version"}
LIBRARIES = ["pypdf", "cryptography", "pdfplumber", "reportlab", "pypdfium2", "pymupdf"]
# The first that is complete is the one to take.
TASKS = {
    "inspect": [["pypdf"], ["pdfinfo", "pdfimages"], ["qpdf"]],
    "text": [["pdftotext"], ["pypdf"], ["pdfplumber"], ["mutool"], ["pypdfium2"]],
    "tables": [["pdfplumber"], ["pdftotext"]],
    "render": [["pdftoppm"], ["pypdfium2"], ["mutool"], ["gs"]],
    "ocr": [["ocrmypdf", "tesseract"], ["tesseract", "pdftoppm"]],
    "merge, split, rotate": [["pypdf"], ["qpdf"], ["mutool"]],
    "decrypt, AES": [["pypdf", "cryptography"], ["qpdf"]],
    "repair, check": [["qpdf"], ["mutool"], ["gs"]],
    "forms": [["pypdf"], ["qpdf"]],
    "create": [["reportlab"], ["soffice"], ["pandoc"]],
}
PACKAGES = {"pdftotext": "poppler-utils", "pdftoppm": "poppler-utils", "pdfinfo": "poppler-utils",
            "pdfimages": "poppler-utils", "tesseract": "tesseract-ocr", "mutool": "mupdf-tools", "gs": "ghostscript",
            "soffice": "libreoffice-writer"}
BREW = {"poppler-utils": "poppler", "tesseract-ocr": "tesseract", "libreoffice-writer": "libreoffice"}


def version_of(name, option):
    if not shutil.which(name):
        return None
    if option is None:
        return "installed"
    try:
        run = subprocess.run([name, option], capture_output=True, text=True, errors="replace", timeout=20,
                             stdin=subprocess.DEVNULL)
        return next((line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip()), "installed")
    except (OSError, subprocess.TimeoutExpired):
        return None


def library(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def how_to_get(name):
    if name in LIBRARIES:
        return f"pip install {name} (in a venv)"
    package = PACKAGES.get(name, name)
    return f"brew install {BREW.get(package, package)}" if platform.system() == "Darwin" else f"apt-get install {package}"


def main():
    if set(sys.argv[1:]) - {"--json"}:
        sys.exit("check_tools.py: only --json")
    here = {name: version_of(name, option) for name, option in PROGRAMS.items()}
    here.update({name: library(name) for name in LIBRARIES})
    take = {task: next((way for way in ways if all(here.get(n) for n in way)), None) for task, ways in TASKS.items()}
    if "--json" in sys.argv:
        print(json.dumps({"python": sys.executable, "installed": here, "take": take}, indent=1))
        return
    print(f"python: {sys.executable} {platform.python_version()}")
    print("here:   " + "; ".join(f"{n} ({v})" if v != "installed" else n for n, v in here.items() if v))
    print("absent: " + (", ".join(n for n, v in here.items() if not v) or "nothing"))
    for task, ways in TASKS.items():
        way = take[task]
        missing = [] if way == ways[0] else [n for n in ways[0] if not here.get(n)]
        better = "; better: " + ", ".join(map(how_to_get, missing)) if missing else ""
        print(f"{task + ':':22}{' + '.join(way) if way else 'NOTHING'}{better}")


if __name__ == "__main__":
    main()
