// # One thing at a time
//
// build, level 1, 20 minutes. Read: core/src/tools/mod.rs
//
// A model keeps a plan in a list. Write `Plan::change`, which takes a new list in place of the one
// there is, without looking at `examples/s03_todo_write.rs`. Its rules:
//
// 1. At most one item is in progress. If there are more, refuse; the message names their numbers.
// 2. No item is blank. If one is, refuse; the message names its number.
// 3. Items are numbered from 1, as the model sees them.
// 4. A list that is refused changes nothing, and the message says `nothing was changed`: the model
//    must know which state it starts from.
// 5. What is accepted is returned as text: `[ ] 1. Read`, `[>] 2. Write`, `[x] 3. Check`, a line
//    for each item.
//
// Run: cargo run -p rungs-exercises -- run s03_one_at_a_time

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
        let _ = (&self.items, items);
        todo!("check the rules, take the items, return them as text")
    }
}

mod tests {
    use super::*;
    use Status::{Completed, InProgress, Pending};

    fn items<const N: usize>(items: [(&str, Status); N]) -> Vec<Item> {
        items.map(|(content, status)| Item { content: content.into(), status }).to_vec()
    }

    /// A plan with one item in progress, which no refused change may touch.
    fn plan() -> Plan {
        Plan { items: items([("old", InProgress)]) }
    }

    #[track_caller]
    fn refused(new: Vec<Item>) -> String {
        let mut plan = plan();
        let why = match plan.change(new) {
            Err(ToolError(why)) => why,
            Ok(text) => panic!("this is no plan, and it was accepted:\n{text}"),
        };
        let kept = "a refused change leaves the plan as it was: check first, change after";
        assert_eq!(plan.items, items([("old", InProgress)]), "{kept}");
        let said = "say that nothing was changed, or the model has to read the plan again";
        assert!(why.contains("nothing was changed"), "{said}: {why}");
        why
    }

    #[test]
    fn a_plan_is_taken_and_returned() {
        let mut plan = plan();
        let new = items([("Read", Completed), ("Write", InProgress), ("Check", Pending)]);
        let text = plan.change(new.clone()).unwrap_or_else(|error| panic!("{}", error.0));
        let lines: Vec<&str> = text.lines().collect();
        let why = "the model reads the whole plan after each change, so it stands near the end of \
                   the conversation again";
        assert_eq!(lines, ["[x] 1. Read", "[>] 2. Write", "[ ] 3. Check"], "{why}");
        assert_eq!(plan.items, new, "the new items take the place of the old ones");
    }

    #[test]
    fn two_items_in_progress_are_refused_by_number() {
        let items = items([
            ("a", Pending),
            ("b", InProgress),
            ("c", Completed),
            ("d", Pending),
            ("e", InProgress),
        ]);
        let why = refused(items);
        let help = "a plan with two things in progress does not say what comes next. Name both \
                    numbers, so that the model can choose, and no others";
        assert!(why.contains('2') && why.contains('5') && !why.contains('4'), "{help}: {why}");
    }

    #[test]
    fn a_blank_item_is_refused_by_number() {
        let why = refused(items([("a", Pending), (" \n", Pending)]));
        assert!(why.contains('2'), "which item is blank? The model counts from 1: {why}");
    }

    #[test]
    fn an_empty_plan_and_a_finished_one_are_plans() {
        assert!(plan().change(vec![]).is_ok(), "a model may drop its plan");
        let done = items([("a", Completed), ("b", Completed)]);
        assert!(plan().change(done).is_ok(), "no item in progress is fine: everything is done");
    }
}
