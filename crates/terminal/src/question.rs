//! Questions to the person.
use crate::text::exact;
use rungs_core::{Answer, Question};

/// A question with its choices, up to where the answer is typed.
pub(crate) fn text(question: &Question) -> String {
    let mut text = exact(&question.text);
    for (choice, number) in question.choices.iter().zip(1..) {
        text.push_str(&format!("\n  {number}  {}", exact(choice)));
    }
    text + "\n  n  no; a reason may follow\nanswer: "
}

/// What a line means as an answer to a question with so many choices, if it is one.
pub(crate) fn answer(line: &str, choices: usize) -> Option<Answer> {
    let line = line.trim();
    if let Ok(number) = line.parse::<usize>() {
        let index = number.checked_sub(1)?;
        return (index < choices).then_some(Answer::Choice(index));
    }
    let (word, reason) = line.split_once([' ', ',']).unwrap_or((line, ""));
    match word.to_lowercase().as_str() {
        "y" | "yes" if reason.is_empty() && choices > 0 => Some(Answer::Choice(0)),
        "" | "n" | "no" => Some(Answer::No(reason.trim().into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_choice_by_number_or_a_no_with_a_reason() {
        let no = |why: &str| Some(Answer::No(why.into()));
        for (line, meaning) in [
            ("1", Some(Answer::Choice(0))),
            (" 2 ", Some(Answer::Choice(1))),
            ("yes", Some(Answer::Choice(0))),
            ("3", None),
            ("0", None),
            ("", no("")),
            ("N", no("")),
            ("no, use git mv", no("use git mv")),
            ("what is in this folder?", None),
        ] {
            assert_eq!(answer(line, 2), meaning, "{line:?}");
        }
        assert_eq!(answer("y", 0), None);
    }
}
