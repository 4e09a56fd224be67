//! Pages that show files of the repository, so that the book's links lead somewhere without it.
use crate::escape;
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The page that shows a file, from the root of the book. mdBook takes `.md` for a chapter.
pub(crate) fn page_of(file: &Path) -> String {
    format!("source/{}.html", file.display()).replace(".md.", "-md.")
}

/// Writes a page for each of these files, and for each folder one that lists it, into `source`
/// below the book.
pub(crate) fn write(
    repository: &Path,
    files: &BTreeSet<PathBuf>,
    book: &Path,
) -> Result<(), String> {
    for file in files {
        let from = repository.join(file);
        let fault = |e: std::io::Error| format!("{}: {e}", file.display());
        let text = if from.is_dir() {
            let entries = fs::read_dir(&from).map_err(fault)?.flatten();
            let names: BTreeSet<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.into_iter().collect::<Vec<_>>().join("\n")
        } else {
            fs::read_to_string(&from).map_err(fault)?
        };
        let to = book.join(page_of(file));
        fs::create_dir_all(to.parent().unwrap_or(book)).map_err(fault)?;
        fs::write(&to, page(file, &text)).map_err(fault)?;
    }
    Ok(())
}

fn page(file: &Path, text: &str) -> String {
    // `source` is a folder more.
    let root = "../".repeat(file.components().count());
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or("text");
    let language = match extension {
        "rs" => "rust",
        "md" => "markdown",
        "yaml" | "yml" => "yaml",
        "toml" => "ini",
        "sh" => "bash",
        _ => "plaintext",
    };
    let mut numbers = String::new();
    for number in 1..=text.lines().count().max(1) {
        let _ = writeln!(numbers, "<a id=\"L{number}\" href=\"#L{number}\">{number}</a>");
    }
    let (name, text) = (escape(&file.display().to_string()), escape(text));
    format!(
        "<!DOCTYPE html>
<html lang=\"en\" class=\"light\">
<head>
<meta charset=\"UTF-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>{name}</title>
<link rel=\"stylesheet\" href=\"{root}css/variables.css\">
<link rel=\"stylesheet\" href=\"{root}fonts/fonts.css\">
<link rel=\"stylesheet\" class=\"light\" href=\"{root}highlight.css\">
<link rel=\"stylesheet\" class=\"dark\" href=\"{root}tomorrow-night.css\" disabled>
<link rel=\"stylesheet\" href=\"{root}book.css\">
<script>
let theme = null;
try {{ theme = localStorage.getItem('mdbook-theme'); }} catch (e) {{ }}
theme ??= matchMedia('(prefers-color-scheme: dark)').matches ? 'navy' : 'light';
document.documentElement.className = theme;
const dark = !['light', 'rust'].includes(theme);
document.querySelector('link.dark').disabled = !dark;
document.querySelector('link.light').disabled = dark;
</script>
</head>
<body class=\"source\">
<header><a href=\"{root}index.html\">Contents</a> <h1>{name}</h1></header>
<main>
<pre class=\"numbers\">
{numbers}</pre>
<pre class=\"text\" tabindex=\"0\"><code class=\"language-{language}\">{text}</code></pre>
</main>
<script src=\"{root}highlight.js\"></script>
<script>hljs.highlightAll();</script>
</body>
</html>
"
    )
}
