//! Unified diffs, in colours.
use crate::{
    paint::Colour,
    text::{Excerpt, MAX_LINE_CHARS},
};

/// How much of a diff is shown, and of one of an agent in the background.
const DIFF: Excerpt = Excerpt { first: 40, last: 10, chars: MAX_LINE_CHARS };
const CHILD_DIFF: Excerpt = Excerpt { first: 10, last: 4, chars: MAX_LINE_CHARS };

/// The rows of a text that is a unified diff from its first line on; none of any other text.
pub(crate) fn rows(text: &str, is_child: bool) -> Option<Vec<(Colour, String)>> {
    let mut lines = text.lines();
    let is_diff = lines.next()?.starts_with("--- ") && lines.next()?.starts_with("+++ ");
    if !is_diff {
        return None;
    }
    let excerpt = if is_child { CHILD_DIFF } else { DIFF };
    let lines = excerpt.of(text);
    let colour = |i: usize| {
        let next = lines.get(i + 1).map_or("", |line| line);
        let before = if i == 0 { "" } else { &lines[i - 1] };
        match lines[i].as_bytes().first() {
            // A removed line may begin with `-- `, too.
            Some(b'-') if lines[i].starts_with("--- ") && next.starts_with("+++ ") => {
                Colour::Prompt
            }
            Some(b'+') if lines[i].starts_with("+++ ") && before.starts_with("--- ") => {
                Colour::Prompt
            }
            Some(b'-') => Colour::Removed,
            Some(b'+') => Colour::Added,
            Some(b'@') => Colour::Call,
            _ => Colour::Result,
        }
    };
    Some((0..lines.len()).map(|i| (colour(i), format!("  {}", lines[i]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_has_colours_and_any_other_text_has_none() {
        let text = "--- a\n+++ a\n@@ -1,2 +1,2 @@\n same\n--- old\n+new\x1b[2J\n";
        let colours = [
            (Colour::Prompt, "  --- a"),
            (Colour::Prompt, "  +++ a"),
            (Colour::Call, "  @@ -1,2 +1,2 @@"),
            (Colour::Result, "   same"),
            (Colour::Removed, "  --- old"),
            (Colour::Added, "  +new\\u{1b}[2J"),
        ];
        assert_eq!(rows(text, false).unwrap(), colours.map(|(kind, line)| (kind, line.into())));
        for other in ["", "--- a", "--- a\nb", "+ a\n- b", "text\n--- a\n+++ a\n"] {
            assert!(rows(other, false).is_none(), "{other}");
        }
        let long = format!("--- a\n+++ a\n{}", "+x\n".repeat(100));
        assert_eq!(rows(&long, true).unwrap()[10].1, "  ... 88 more lines ...");
    }
}
