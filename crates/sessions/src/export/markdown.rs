//! Markdown.
use super::{Part, Transcript};

/// The transcript as Markdown. Nothing in it can break out of its place: code is fenced by more
/// backticks than it holds, and what looks like HTML is escaped.
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
            Part::Said { who, text } => format!("**{}**\n\n{}", line(who), quoted(text)),
            Part::Folded { title, text } => format!("*{}*\n\n{}", line(title), fenced(text, "")),
            Part::Call { name, input, diff, result, images } => {
                let mut call = format!("**Call of `{}`**\n\n", line(&name.replace('`', "'")));
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// As a quotation, in which Markdown stays Markdown.
fn quoted(text: &str) -> String {
    let (mut out, mut fence) = (String::new(), None);
    for line in text.lines() {
        let ticks = line.trim_start().bytes().take_while(|byte| *byte == b'`').count();
        let is_code = fence.is_some();
        match fence {
            Some(open) if ticks >= open && line.trim().len() == ticks => fence = None,
            None if ticks >= 3 => fence = Some(ticks),
            _ => {}
        }
        let shown = if is_code { line.into() } else { escaped(line) };
        out += &format!("> {shown}\n");
    }
    if let Some(open) = fence {
        out += &format!("> {}\n", "`".repeat(open));
    }
    out
}

fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}
