/// Whether one of these rules allows this command. A rule holds the first words of a command; any
/// words may follow.
fn allows(rules: &[&str], command: &str) -> bool {
    // Of these characters none means anything to bash, so the words are what they seem to be.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
    if !words.iter().all(|word| word.chars().all(is_plain)) {
        return false;
    }
    rules.iter().any(|rule| {
        let rule: Vec<&str> = rule.split(' ').collect();
        words.starts_with(&rule)
    })
}
