/// As much of these texts as there is room for, in bytes: the newest, which is the last, first. One that is too long keeps
/// its beginning and its end, and about `least` bytes of it stay even when no room is left.
pub fn fit(texts: Vec<String>, mut room: usize, least: usize) -> Vec<String> {
    let mut fitted: Vec<String> = texts
        .into_iter()
        .rev()
        .map(|text| {
            let most = room.max(least);
            let text = if text.len() <= most { text } else { both_ends(&text, most) };
            room = room.saturating_sub(text.len());
            text
        })
        .collect();
    fitted.reverse();
    fitted
}

fn both_ends(text: &str, most: usize) -> String {
    let (head, tail) =
        (text.floor_char_boundary(most / 2), text.ceil_char_boundary(text.len() - most / 2));
    format!("{}\n[{} bytes cut here to save room]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(texts: &[&str], room: usize, least: usize) -> Vec<String> {
        fit(texts.iter().map(|text| text.to_string()).collect(), room, least)
    }

    #[test]
    fn the_newest_come_first_and_what_is_too_long_keeps_both_ends() {
        let cut = |head: &str, bytes: usize, tail: &str| {
            format!("{head}\n[{bytes} bytes cut here to save room]\n{tail}")
        };
        assert_eq!(fitted(&["one", "two", "three"], 11, 0), ["one", "two", "three"]);
        assert_eq!(fitted(&["abcdefgh", "three"], 11, 4), [cut("abc", 2, "fgh"), "three".into()]);
        assert_eq!(
            fitted(&["abcdefgh", "one", "three"], 5, 4),
            [cut("ab", 4, "gh"), "one".into(), "three".into()]
        );
        assert_eq!(fitted(&[], 11, 4), Vec::<String>::new());
        // No character is cut in two.
        assert_eq!(fitted(&["\u{20ac}\u{20ac}\u{20ac}"], 8, 0), [cut("\u{20ac}", 3, "\u{20ac}")]);
    }
}
