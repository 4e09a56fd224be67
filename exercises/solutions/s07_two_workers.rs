use rungs_tasks::{Board, BoardError, Status, Task};

/// Takes the first task that can begin and that is wanted, for `who`.
fn take(
    board: &Board,
    who: &str,
    wanted: impl Fn(&Task) -> bool,
) -> Result<Option<Task>, BoardError> {
    // Found and taken under one lock, so that what was found is still true when it is taken.
    board.change(|tasks| {
        let can_begin = |task: &&Task| {
            task.status == Status::Pending && tasks.blockers(task).is_empty() && wanted(task)
        };
        let taken = tasks.all().find(can_begin).map(|task| Task {
            status: Status::InProgress,
            owner: Some(who.into()),
            ..task.clone()
        });
        Ok((taken.iter().cloned().collect(), taken))
    })
}
