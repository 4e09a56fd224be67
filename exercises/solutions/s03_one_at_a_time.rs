use rungs_core::ToolError;

#[allow(dead_code)]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Status {
    Pending,
    InProgress,
    Completed,
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    content: String,
    status: Status,
}

/// The plan of one conversation.
#[derive(Debug, Default)]
struct Plan {
    items: Vec<Item>,
}

impl Plan {
    /// Takes the new items, if they are a plan.
    fn change(&mut self, items: Vec<Item>) -> Result<String, ToolError> {
        let (mut in_progress, mut text) = (vec![], String::new());
        for (item, number) in items.iter().zip(1..) {
            if item.content.trim().is_empty() {
                return Err(ToolError(format!("item {number} is blank; nothing was changed")));
            }
            let mark = match item.status {
                Status::Pending => "[ ]",
                Status::InProgress => "[>]",
                Status::Completed => "[x]",
            };
            if item.status == Status::InProgress {
                in_progress.push(number.to_string());
            }
            text += &format!("{mark} {number}. {}\n", item.content);
        }
        if in_progress.len() > 1 {
            let numbers = in_progress.join(" and ");
            let why = format!("items {numbers} would be in progress at once; nothing was changed");
            return Err(ToolError(why));
        }
        self.items = items;
        Ok(text)
    }
}
