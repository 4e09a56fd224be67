/// The tasks that are claimed in the steps 1, 2, 4, 5 and 8, or `None` if there is nothing to
/// claim.
const CLAIMED: [Option<u64>; 5] = [Some(1), None, None, Some(1), Some(2)];
/// Whether the answers of the steps 6, 7 and 9 are accepted: `Some(true)` or `Some(false)`.
const ACCEPTED: [Option<bool>; 3] = [Some(false), Some(true), Some(true)];
/// How many failures #1 has in step 10.
const FAILURES: usize = 1;
