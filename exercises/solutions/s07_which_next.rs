/// What `task_next` takes in the steps a, b and c.
const FIRST: [Option<u64>; 3] = [Some(2), Some(1), None];
/// What it takes in step d.
const AFTER_A_FAILURE: Option<u64> = None;
/// What can begin because of step e, in the order of the numbers.
const FREED: &[u64] = &[3, 5];
/// What it takes in step f.
const LAST: Option<u64> = Some(5);
/// Whether the updates of the steps g and h are refused: `Some(true)` or `Some(false)`.
const REFUSED: [Option<bool>; 2] = [Some(true), Some(false)];
