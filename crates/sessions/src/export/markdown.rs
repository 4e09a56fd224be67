//! Markdown.
use super::{Part, Transcript, visible};

/// The transcript as Markdown. Nothing in it can break out of its place: whatever was said stands
/// between more backticks than it holds, and in titles what means something is escaped.
pub fn markdown(transcript: &Transcript) -> String {
    let mut out = format!("# {}\n\n", line(&transcript.title));
    for (name, value) in &transcript.facts {
        out += &format!("- {}: {}\n", line(name), line(value));
    }
    for part in &transcript.parts {
        out.push('\n');
        out += &match part {
            Part::Heading(text) => format!("## {}\n", line(text)),
            Part::Note(text) => format!("*{}*\n", line(text)),
            Part::Said { who, text } => format!("**{}**\n\n{}", line(who), fenced(text, "")),
            Part::Folded { title, text } => format!("*{}*\n\n{}", line(title), fenced(text, "")),
            Part::Call { name, input, diff, result, images } => {
                let mut call = format!("**Call of {}**\n\n", line(name));
                call += &fenced(input, "json");
                if !diff.is_empty() {
                    call += &format!("\n{}", fenced(diff, "diff"));
                }
                call += &match result {
                    Some((text, true)) => format!("\nFailed:\n\n{}", fenced(text, "")),
                    Some((text, false)) => format!("\nResult:\n\n{}", fenced(text, "")),
                    None => "\nThere is no result.\n".into(),
                };
                let images = images.iter().map(|(media_type, data)| image(media_type, data));
                call + &images.collect::<String>()
            }
            Part::Image(media_type, data) => image(media_type, data),
        };
    }
    out
}

fn image(media_type: &str, data: &str) -> String {
    format!("\n![a picture](data:{media_type};base64,{data})\n")
}

/// Text of one line.
fn line(text: &str) -> String {
    escaped(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Text that is nothing but text: no HTML, no link, no picture, no emphasis.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '~' | '|' | '$' => out.extend(['\\', c]),
            _ => out.push(visible(c)),
        }
    }
    out
}

fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    let text: String = text.trim_end_matches('\n').chars().map(visible).collect();
    format!("{fence}{language}\n{text}\n{fence}\n")
}
