/// The tasks of a prompt; none when it is no list of tasks.
fn tasks(prompt: &str) -> Option<Vec<String>> {
    let prompt = prompt.trim();
    if prompt.contains(['`', '"', '\'', '\n']) {
        return None;
    }
    let tasks: Vec<String> = prompt.split(" | ").map(|task| task.trim().to_string()).collect();
    if tasks.len() < 2 || tasks.iter().any(|task| task.is_empty()) {
        return None;
    }
    Some(tasks)
}
