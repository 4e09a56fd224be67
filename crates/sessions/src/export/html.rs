//! One HTML page.
use super::{Part, Transcript, visible};

/// No program, no other address: the page shows what is in it, and nothing else.
const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
style-src 'unsafe-inline'; img-src data:\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
";

const STYLE: &str = "<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; color: #555 }
dd { margin: 0 }
.said { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 1rem; padding: .5rem 1rem;
  border-left: 4px solid #3367d6; background: #f3f6fd }
.who { font-size: .85rem; color: #555 }
.note { color: #8a4b00 }
details { margin: .5rem 0 }
details.call { border: 1px solid #ccc; border-radius: 4px; padding: .3rem .8rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6; padding: .5rem .8rem;
  font: 13px/1.4 ui-monospace, monospace }
.failed { border-left: 4px solid #b00020 }
ins { text-decoration: none; background: #dff5e0 }
del { text-decoration: none; background: #fde2e2 }
img { max-width: 100% }
@media print { details::details-content { content-visibility: visible } }
</style>
";

/// The transcript as one page that needs nothing else.
pub fn html(transcript: &Transcript) -> String {
    let title = escaped(&transcript.title);
    let mut out =
        format!("{HEAD}<title>{title}</title>\n{STYLE}</head>\n<body>\n<h1>{title}</h1>\n");
    out += "<dl>\n";
    for (name, value) in &transcript.facts {
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
    }
    out += "</dl>\n";
    for part in &transcript.parts {
        out += &html_of(part);
        out.push('\n');
    }
    out + "</body>\n</html>\n"
}

fn html_of(part: &Part) -> String {
    match part {
        Part::Heading(text) => format!("<h2>{}</h2>", escaped(text)),
        Part::Note(text) => format!("<p class=\"note\">{}</p>", escaped(text)),
        Part::Said { who, text } => format!(
            "<div class=\"who\">{}</div><div class=\"said\">{}</div>",
            escaped(who),
            escaped(text)
        ),
        Part::Folded { title, text } => format!(
            "<details><summary>{}</summary><pre>{}</pre></details>",
            escaped(title),
            escaped(text)
        ),
        Part::Call { name, input, diff, result, images } => {
            let mut call = format!(
                "<details class=\"call\" open><summary>Call of <code>{}</code></summary>\
                 <pre>{}</pre>",
                escaped(name),
                escaped(input)
            );
            if !diff.is_empty() {
                call += &format!("<pre>{}</pre>", diff.lines().map(diff_line).collect::<String>());
            }
            call += &match result {
                Some((text, true)) => {
                    format!("Failed: <pre class=\"failed\">{}</pre>", escaped(text))
                }
                Some((text, false)) => format!("Result: <pre>{}</pre>", escaped(text)),
                None => "<p>There is no result.</p>".into(),
            };
            for (media_type, data) in images {
                call += &image(media_type, data);
            }
            call + "</details>"
        }
        Part::Image(media_type, data) => image(media_type, data),
    }
}

fn image(media_type: &str, data: &str) -> String {
    format!("<img alt=\"a picture\" src=\"data:{media_type};base64,{data}\">")
}

fn diff_line(line: &str) -> String {
    let text = escaped(line);
    match line.as_bytes().first() {
        Some(b'+') => format!("<ins>{text}</ins>\n"),
        Some(b'-') => format!("<del>{text}</del>\n"),
        _ => format!("{text}\n"),
    }
}

/// Text that is nothing but text. Control characters are shown as their pictures.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(visible(c)),
        }
    }
    out
}
